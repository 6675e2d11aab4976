"""Users, passwords and rights."""

from repltap.access import ALL_RIGHTS, DEFAULT_USER, NOBODY, Right, User, Users, digest

REPLICAS = User("replicas", frozenset({Right.REPLICATE}), (digest("old"), digest("pässword")))


def test_without_users_everybody_may_do_everything() -> None:
    assert not NOBODY.required
    assert all(NOBODY.may(DEFAULT_USER, right) for right in Right)
    assert not NOBODY.check(b"default", b"")


def test_a_password_alone_makes_the_default_user_with_all_rights() -> None:
    users = Users.of_default("sesame")
    assert users.required
    assert users.check(b"default", b"sesame")
    assert not users.check(b"default", b"")
    assert not users.check(b"default", b"sesam")
    assert not users.check(b"admin", b"sesame")
    assert {right for right in Right if users.may(DEFAULT_USER, right)} == ALL_RIGHTS
    assert Users.of_default() == NOBODY


def test_each_of_several_passwords_will_do_and_rights_are_the_users_own() -> None:
    users = Users.of(("boss",), (REPLICAS,))
    assert users.check(b"replicas", b"old")
    assert users.check(b"replicas", "pässword".encode())
    assert not users.check(b"replicas", b"boss")
    assert users.may("replicas", Right.REPLICATE)
    assert not users.may("replicas", Right.STATUS)
    assert not users.may("nobody", Right.REPLICATE)


def test_named_users_alone_leave_no_default_user() -> None:
    users = Users.of((), (REPLICAS,))
    assert users.required
    assert not users.check(b"default", b"")
    assert not users.may(DEFAULT_USER, Right.STATUS)


def test_what_is_no_text_is_no_user_and_no_password() -> None:
    users = Users.of(("boss",), (REPLICAS,))
    assert not users.check(b"\xff\xfe", b"old")
    assert not users.check(b"replicas", b"\xff" * 1000)


def test_nothing_of_a_password_is_shown() -> None:
    assert "sesame" not in repr(Users.of_default("sesame"))
    assert digest("sesame").hex() not in repr(Users.of_default("sesame"))
    assert "digests" not in repr(REPLICAS)
