if __name__ == "__main__":
    from autogpt_server.app import main

    raise SystemExit(main())
