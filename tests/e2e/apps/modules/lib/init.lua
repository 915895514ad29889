return "package"
