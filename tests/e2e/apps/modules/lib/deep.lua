return "deep"
