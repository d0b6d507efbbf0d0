// java.net.http.HttpClient, which reads neither proxy nor roots from the environment: this is what its users write.
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.Authenticator;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    /** A client that goes through the proxy of the environment and trusts its roots. */
    static HttpClient.Builder builder() throws Exception {
        // Basic is switched off for tunnels unless one says so.
        System.setProperty("jdk.http.auth.tunneling.disabledSchemes", "");
        URI proxy = URI.create(System.getenv("HTTPS_PROXY"));
        String[] login = proxy.getUserInfo().split(":", 2);
        KeyStore roots = KeyStore.getInstance(KeyStore.getDefaultType());
        roots.load(null, null);
        try (InputStream file = new FileInputStream(System.getenv("SSL_CERT_FILE"))) {
            int number = 0;
            for (Certificate root : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                roots.setCertificateEntry("root-" + number++, root);
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(roots);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, trust.getTrustManagers(), null);
        return HttpClient.newBuilder()
            .proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort())))
            .sslContext(tls)
            .authenticator(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    boolean asked = getRequestorType() == RequestorType.PROXY;
                    return asked ? new PasswordAuthentication(login[0], login[1].toCharArray()) : null;
                }
            });
    }

    public static void main(String[] args) throws Exception {
        String column = args[0];
        URI url = URI.create(args[1]);
        String bearer = "Bearer " + System.getenv("DEMO_KEY");
        HttpClient.Builder builder = builder();
        if (column.equals("h1")) builder.version(HttpClient.Version.HTTP_1_1);
        HttpClient client = builder.build();
        if (column.equals("websocket")) {
            CompletableFuture<String> first = new CompletableFuture<>();
            WebSocket socket = client.newWebSocketBuilder().header("Authorization", bearer).buildAsync(url, new WebSocket.Listener() {
                @Override
                public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
                    first.complete(data.toString());
                    return null;
                }
            }).get();
            socket.request(1);
            socket.sendText("one", true).get();
            if (!first.get().equals("one")) throw new IllegalStateException(first.get());
            socket.sendClose(WebSocket.NORMAL_CLOSURE, "").get();
        } else {
            HttpRequest.Builder request = HttpRequest.newBuilder(url).header("Authorization", bearer);
            if (column.equals("upload")) request.POST(HttpRequest.BodyPublishers.ofByteArray(new byte[5_000_000]));
            HttpResponse<InputStream> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofInputStream());
            if (answer.statusCode() != 200) throw new IllegalStateException("status " + answer.statusCode());
            if (column.equals("download")) {
                long length = 0;
                byte[] buffer = new byte[65536];
                for (int read; (read = answer.body().read(buffer)) >= 0; ) length += read;
                System.out.println("got " + length);
            } else {
                BufferedReader lines = new BufferedReader(new InputStreamReader(answer.body()));
                for (String line; (line = lines.readLine()) != null; ) System.out.println(line);
                System.out.println(answer.headers().map());
            }
        }
        System.out.println("done");
        System.exit(0);
    }
}
