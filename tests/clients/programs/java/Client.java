// java Client.java URL: prints what the JDK's own HttpClient and a few lines of parsing make of a stream.

import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.io.IOException;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

public class Client {
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    // docs: begin
    static String last = "", type = "", id = "";
    static long retry = 1000;
    static List<String> data = new ArrayList<>();

    public static void main(String[] arguments) throws InterruptedException {
        HttpClient http = HttpClient.newHttpClient();
        for (;;) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(arguments[0]))
                    .header("Accept", "text/event-stream");
            if (!last.isEmpty()) request.header("Last-Event-ID", last);
            try {
                var response = http.send(request.build(), HttpResponse.BodyHandlers.ofLines());
                if (response.statusCode() != 200) throw new IOException("status " + response.statusCode());
                said("open");
                begin();
                try (Stream<String> lines = response.body()) {
                    lines.forEach(Client::line);
                }
                said("closed");
            } catch (IOException | UncheckedIOException error) {
                said("error");
            }
            Thread.sleep(retry);
        }
    }

    static void line(String line) {
        if (line.isEmpty()) {
            last = id;
            if (!data.isEmpty()) seen(type.isEmpty() ? "message" : type, last, String.join("\n", data));
            begin();
        }
        int colon = line.indexOf(':');
        String field = colon < 0 ? line : line.substring(0, colon);
        String value = colon < 0 ? "" : line.substring(colon + 1);
        if (value.startsWith(" ")) value = value.substring(1);
        switch (field) {
            case "data": data.add(value); break;
            case "event": type = value; break;
            case "id": id = value; break;
            case "retry": retry = Long.parseLong(value); break;
            default: // a comment, as the heartbeat is, or a field of tomorrow
        }
    }

    // A block that was cut short counts for nothing, its id neither.
    static void begin() {
        type = "";
        id = last;
        data.clear();
    }
    // docs: end

    static void said(String kind) {
        OUT.println("{\"kind\":\"" + kind + "\"}");
    }

    static void seen(String type, String id, String data) {
        OUT.println("{\"kind\":\"event\",\"type\":" + json(type) + ",\"id\":" + json(id) + ",\"data\":" + json(data) + "}");
    }

    static String json(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') quoted.append('\\').append(c);
            else if (c < ' ') quoted.append(String.format("\\u%04x", (int) c));
            else quoted.append(c);
        }
        return quoted.append('"').toString();
    }
}
