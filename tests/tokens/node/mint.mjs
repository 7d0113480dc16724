import { SignJWT } from "jose";

const secret = new TextEncoder().encode(process.env.SLUICE_TOKEN_SECRET);

function tokenFor(user) {
  return new SignJWT({ sluice: { subscribe: ["orders.*", "user.{sub}"] } })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(user)
    .setJti(crypto.randomUUID())
    .setIssuedAt()
    .setExpirationTime("15m")
    .sign(secret);
}

console.log(await tokenFor(process.argv[2]));
