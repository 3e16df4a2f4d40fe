"""What objects keep: values computed at the first look, and functions of the user on their way into a pickle."""
