import os
import sys
import time
import uuid

import jwt  # PyJWT


def token_for(user: str) -> str:
    now = int(time.time())
    claims = {
        "sub": user,
        "iat": now,
        "exp": now + 15 * 60,
        "jti": str(uuid.uuid4()),
        "sluice": {"subscribe": ["orders.*", "user.{sub}"]},
    }
    return jwt.encode(claims, os.environ["SLUICE_TOKEN_SECRET"], algorithm="HS256")


print(token_for(sys.argv[1]))
