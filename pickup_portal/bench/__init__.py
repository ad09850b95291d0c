"""What `manage.py bench` measures: a module each, with `run(n)` -> plain data and `lines(result)` for people."""
