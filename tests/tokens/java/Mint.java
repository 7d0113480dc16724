import com.auth0.jwt.JWT;
import com.auth0.jwt.algorithms.Algorithm;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.UUID;

public class Mint {
    static String tokenFor(String user) {
        Instant now = Instant.now();
        return JWT.create()
            .withSubject(user)
            .withJWTId(UUID.randomUUID().toString())
            .withIssuedAt(now)
            .withExpiresAt(now.plus(Duration.ofMinutes(15)))
            .withClaim("sluice", Map.of("subscribe", List.of("orders.*", "user.{sub}")))
            .sign(Algorithm.HMAC256(System.getenv("SLUICE_TOKEN_SECRET")));
    }

    public static void main(String[] arguments) {
        System.out.println(tokenFor(arguments[0]));
    }
}
