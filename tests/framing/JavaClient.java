import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Java's own client as it comes: it asks for HTTP/2 by an upgrade with its first request. URL, body, then headers. */
class JavaClient {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .POST(HttpRequest.BodyPublishers.ofString(arguments[1]));
        for (int at = 2; at < arguments.length; at += 2) {
            request.header(arguments[at], arguments[at + 1]);
        }
        for (int number = 0; number < 3; number++) {
            var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.headers().firstValue("X-Events").orElse("") + " "
                + answer.body());
        }
    }
}
