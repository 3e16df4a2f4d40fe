"""Layer factors: the inputs and output gradients of the layers of a module, read off its autograd graph."""
