"""Turns data sets into token rows: sources, chat templates with loss masks, preference pairs, batch order.

Read in this order: `sources` (files and generators -> `Example`), `chat` (the only chat-template code), `rows`
(`Example` -> `Prompt` or `TrainRow`), `preference` (pairs), `batches` (which rows a step uses).

Importing this package needs only numpy; each function imports the source, or transformers, that it needs.
"""
