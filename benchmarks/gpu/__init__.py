"""The GPU engine on a card: is it right, and how long does it take beside the card's limits and its peers?"""
