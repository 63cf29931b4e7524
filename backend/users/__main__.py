"""``python -m backend.users``: print the path of the first admin's sign-in link, if one is still needed."""

from backend.database import make_engine, make_sessions, transaction
from backend.users.service import first_sign_in_link
from tunescope.settings import ServerSettings

with transaction(make_sessions(make_engine(ServerSettings().sqlalchemy_url()))) as session:
    link = first_sign_in_link(session)
if link:
    print(link)
