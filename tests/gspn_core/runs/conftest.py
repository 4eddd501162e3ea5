def pytest_addoption(parser) -> None:
    parser.addoption("--drill", type=int, default=200, help="runs that a drill of locks submits")
