"""A board of real drawings: the Debian packages of Openclipart."""
