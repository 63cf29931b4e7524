"""``python -m backend.users [URL]``: print a one-time sign-in link.

Without URL, for ``tunescope up``: the path of the first admin's link, and nothing once an admin has a password.
With URL, for ``tunescope admin-link``: a link for an admin who lost the way in.
"""

import sys

from sqlalchemy.exc import OperationalError

from backend.database import make_engine, make_sessions, transaction, unusable
from backend.users.service import first_sign_in_link, new_admin_link
from tunescope.settings import ServerSettings


def main() -> int:
    settings = ServerSettings()
    try:
        with transaction(make_sessions(make_engine(settings.sqlalchemy_url()))) as session:
            link = new_admin_link(session) if len(sys.argv) > 1 else first_sign_in_link(session)
    except OperationalError as error:
        nothing = f"There is no Tunescope database in {settings.data_dir} yet: start the server first."
        print(unusable(settings.database_url, error) if settings.database_url else nothing, file=sys.stderr)
        return 1
    if link:
        print(sys.argv[1].rstrip("/") + link if len(sys.argv) > 1 else link)
    return 0


if __name__ == "__main__":
    sys.exit(main())
