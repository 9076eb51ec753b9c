"""Lists of words for the constraints of IFBench: from its prompts, from English, and NLTK's stop words."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONJUNCTIONS = _words("and but for nor or so yet")
"""The coordinating conjunctions."""

PERSON_NAMES = _words(
    "Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia Benjamin "
    "Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett Nathan "
    "Victoria Elijah Layla Nicholas Audrey David Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph "
    "Claire Ryan Stella Jonathan"
)
"""The fifty names of the prompt of `count:person_names`."""

PRONOUNS = _words(
    "i me we us you he him she her it they them my mine our ours your yours his hers its their theirs myself "
    "ourselves yourself yourselves himself herself itself themselves this that these those who whom whose which "
    "what whoever whomever whatever whichever anybody anyone anything everybody everyone everything nobody "
    "nothing somebody someone something each either neither both all some any none"
)
"""Personal, possessive, reflexive, demonstrative, interrogative, relative and indefinite pronouns."""

STOP_WORDS = _words(
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves what which who whom this that these those am is are "
    "was were be been being have has had having do does did doing a an the and but if or because as until while "
    "of at by for with about against between into through during before after above below to from up down in out "
    "on off over under again further then once here there when where why how all any both each few more most "
    "other some such no nor not only own same so than too very s t can will just don should now d ll m o re ve y "
    "ain aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn"
)
"""NLTK's English stop words, except those with an apostrophe."""

MINOR_WORDS = _words(
    "a an the and but for nor or so yet as at by in of off on onto per to up via with from into over upon than if vs"
)
"""Words that may be lower-case in a title in title case."""

IRREGULAR_FORMS = _words(
    "am is are was were be been being has had did done does gone went began begun bent bound bit bled blew blown "
    "broke broken brought built burnt bought came caught chose chosen crept dealt dug drew drawn dreamt drank "
    "drunk drove driven ate eaten fell fallen fed felt fought found fled flew flown forbade forbidden forgot "
    "forgotten forgave froze frozen gave given grew grown hung heard hid hidden held kept knelt knew known laid "
    "led learnt left lent lit lost made meant met paid rode ridden rang rung rose risen ran said saw seen sought "
    "sold sent shook shaken shone shot shown sang sung sank sunk sat slept spoke spoken spent spun stood stole "
    "stolen stuck struck swore sworn swept swam swum swung took taken taught tore torn told thought threw thrown "
    "understood woke woken wore worn wove woven wept won wound wrote written"
)
"""Forms of irregular verbs that no regular ending makes."""

VERBS = _words(
    "absorb accelerate accept accompany accomplish achieve acknowledge acquire act adapt add address adjust "
    "administer admire admit adopt advance advertise advise advocate affect agree aim align allocate allow alter "
    "amplify analyze analyse announce anticipate apologize appear apply appoint appreciate approach approve "
    "arrange arrive articulate ascend ask assemble assert assess assign assist assume assure attach attack attain "
    "attempt attend attract avoid await bake balance be beat become beg begin behave believe belong bend bet bind "
    "bite blend bless blow boast boil bolster boost borrow bounce bow break breathe bring broaden browse brush "
    "build burn bury buy calculate call calm capture carry carve catch cause celebrate challenge change charge "
    "chase chat check cherish choose chop claim clarify classify clean clear click climb close coach collaborate "
    "collect combine come comfort command comment commit communicate compare compete compile complain complete "
    "compose comprehend compute conceal concentrate conclude conduct configure confirm confront connect conquer "
    "consider consist construct consult consume contact contain contemplate continue contribute control convert "
    "convey convince cook cope copy correct count cover craft crawl create cross crush cry cultivate cut dance "
    "dare deal debate decide declare decline decorate decrease dedicate defeat defend define delay delegate "
    "delete deliver delve demand demonstrate deny depend deploy derive descend describe deserve design desire "
    "destroy detail detect determine develop devote dig digest direct discard discover discuss dismiss display "
    "distinguish distribute dive divide do document donate download draft drag draw dream dress drink drive drop "
    "dry earn ease eat edit educate elevate eliminate embark embrace emerge emphasize empower employ enable "
    "encounter encourage end endure engage enhance enjoy ensure enter entertain envision equip escape establish "
    "estimate evaluate examine exceed exchange excite exclude execute exercise exist expand expect experience "
    "experiment explain explore expose express extend extract face facilitate fail fall fear feed feel fetch "
    "fight fill filter finalize find finish fit fix flee float flow fly focus fold follow forbid force forecast "
    "forget forgive form formulate foster freeze fulfill function gain gather generate get give glance go grab "
    "grant greet grind grow guarantee guard guess guide handle hang happen harness hate have head heal hear heat "
    "help hesitate hide highlight hire hit hold hope host hug hunt hurry identify ignite ignore illustrate "
    "imagine immerse implement imply import impose impress improve include incorporate increase indicate indulge "
    "influence inform inherit initiate innovate inquire insert insist inspect inspire install instruct integrate "
    "intend interact interpret interview introduce invent invest investigate invite invoke iterate join journey "
    "judge jump justify keep kick kill kiss kneel knock know label lack laugh launch lay lead lean leap learn "
    "leave lend let leverage lie lift like limit link list listen live load locate look lose love lower maintain "
    "make manage map mark match maximize mean measure meet melt mention merge minimize miss mix modify monitor "
    "motivate mount move multiply navigate need negotiate nod note notice nourish nurture obey observe obtain "
    "occur offer open operate optimize order organize outline overcome overlook owe own pack paint participate "
    "pass pause pay perceive perform permit persuade pick place plan plant play plead please plot point polish "
    "ponder pour practice practise praise pray predict prefer prepare present preserve press pretend prevent "
    "print prioritize proceed process produce promise promote pronounce propose protect prove provide publish "
    "pull purchase pursue push put question quit quote race raise ramble reach react read realize recall receive "
    "recognize recommend record recover reduce refer refine reflect refuse regard register regret regulate "
    "reinforce reject relate relax release rely remain remember remind remove render renew repair repeat replace "
    "reply report represent request require rescue research resemble resist resolve respect respond rest restore "
    "result retain retire retrieve return reveal review revise reward rewrite ride ring rise risk roam roast roll "
    "rotate rub run rush save say scan scatter search see seek seem select sell send separate serve set settle "
    "shake shape share shift shine shoot shop shout show shut sign simplify sing sit skip sleep slice slide slip "
    "smell smile snap solve sort speak specify spend spin split spread spring stand start state stay steal step "
    "stick stir stop store stream strengthen stretch strike strive structure struggle study submit succeed suffer "
    "suggest suit summarize supply support suppose surrender surround survive suspect sustain swallow sweep swim "
    "swing switch take talk target taste teach tear tell tend test thank think thrive throw tie toss touch trace "
    "track trade train transfer transform translate transport travel treat trigger trim trust try tuck turn twist "
    "type understand undergo undertake unite unleash unlock unveil unwind update upgrade uphold upload use "
    "utilize validate value verify view visit visualize vote wait wake walk wander want warn wash waste watch "
    "wave wear weave weigh welcome whisper win wish witness wonder work worry wrap write yell yield zoom"
)
"""Common verbs in their base form; `ifeval_bench_words.is_verb` recognises the regular endings."""

NO_PARTICIPLES = _words(
    "anything ceiling darling during duckling earring evening everything morning nothing offspring pudding sibling "
    "something"
)
"""Words that end with `ing` but are not forms of a verb."""
