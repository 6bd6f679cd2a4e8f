"""The decider: what a run does next, as pure functions over its state.

`advance(state, input)` gives the records that an input leads to and moves the state by them; nothing else moves it.
No clock, no random id, no log, no await, no class of a user: times come in with the inputs, ids are sequence
numbers, payloads are opaque bodies. Every function here costs O(1) per record.
"""
