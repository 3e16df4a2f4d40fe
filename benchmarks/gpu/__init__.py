"""The GPU engine on a GPU: is it right, and how long does it take beside the GPU's limits and its peers?"""
