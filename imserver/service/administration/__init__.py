"""Operations for administrators of the server."""
