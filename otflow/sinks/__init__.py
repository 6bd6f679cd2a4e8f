"""Records to the outside: each sink is one callable for the dispatcher, and knows no other sink."""
