"""What a job's interpreter and packages are: found in the project, locked here, made a recipe, built on its host."""
