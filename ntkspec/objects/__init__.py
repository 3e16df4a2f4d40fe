"""What objects of all rooms share: values kept from the first look on, pickles, and what they offer in a notebook."""
