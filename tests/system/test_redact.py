import pytest

from liif.system.redact import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pass@host:5000/x", "http://host:5000/x"),
        ("at https://token@host/a?key=1&b=2: refused", "at https://host/a refused"),
        ("postgresql://u:p@db/name", "postgresql://db/name"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("sqlite:////home/me@work/a.db", "sqlite:////home/me@work/a.db"),
        ("postgresql://u:pa/ss@db/name", "postgresql://db/name"),
        ("postgresql://db/name?user=u&password=geheim", "postgresql://db/name"),
        ("HTTPS://h/x?token=abc", "HTTPS://h/x"),
        ("http://u:p@ss@host", "http://host"),
        ("no URL, a@b", "no URL, a@b"),
        ("https://host/me@work/a.pth", "https://host/me@work/a.pth"),
        ("https://host:5000/me@work/a.pth", "https://host:5000/me@work/a.pth"),
        ("s3://bucket/a@2x.png and me@work/b", "s3://bucket/a@2x.png and me@work/b"),
        ("https://u:p@host/me@work", "https://host/me@work"),
        ("file:///home/me@work/a?b", "file:///home/me@work/a?b"),
    ],
)
def test_only_passwords_and_queries_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown
