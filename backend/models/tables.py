"""Models that an admin added to this server's library."""

from sqlalchemy import Float, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.database import Base


class ModelRow(Base):
    __tablename__ = "models"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    path: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[float] = mapped_column(Float)
