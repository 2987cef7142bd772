import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Three servers, started as ZooKeeper's own scripts start them, and one of them ended at will. */
final class Ensemble implements AutoCloseable {
    private static final int SIZE = 3;
    private static final String SERVER = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

    private final Path folder;
    private final List<Integer> clientPorts = new ArrayList<>();
    private final Process[] servers = new Process[SIZE];

    Ensemble(Path folder) throws Exception {
        this.folder = folder;
        StringBuilder members = new StringBuilder();
        for (int id = 1; id <= SIZE; id++) {
            members.append(String.format(
                    "server.%d=127.0.0.1:%d:%d:participant;127.0.0.1:%d%n",
                    id, freePort(), freePort(), clientPort()));
        }
        for (int id = 1; id <= SIZE; id++) {
            Path home = Files.createDirectories(folder.resolve("server-" + id));
            Files.writeString(home.resolve("myid"), Integer.toString(id));
            Files.writeString(home.resolve("zoo.cfg"), String.format(
                    "tickTime=1000%ninitLimit=10%nsyncLimit=5%ndataDir=%s%n"
                            + "admin.enableServer=false%n4lw.commands.whitelist=*%n%s",
                    home, members));
            start(id);
        }
        for (int id = 1; id <= SIZE; id++) {
            awaitMode(id);
        }
    }

    /** What a client is given. */
    String connectString() {
        List<String> addresses = new ArrayList<>();
        for (int port : clientPorts) {
            addresses.add("127.0.0.1:" + port);
        }
        return String.join(",", addresses);
    }

    /** The server that leads now. */
    int leader() throws Exception {
        for (int id = 1; id <= SIZE; id++) {
            if (mode(id).equals("leader")) {
                return id;
            }
        }
        throw new IllegalStateException("nobody leads");
    }

    /** As a crash ends it. */
    void kill(int id) throws Exception {
        servers[id - 1].destroyForcibly().waitFor();
    }

    void start(int id) throws IOException {
        Path home = folder.resolve("server-" + id);
        servers[id - 1] = new ProcessBuilder(
                "java", "-Dzookeeper.extendedTypesEnabled=true",
                "-Dznode.container.checkIntervalMs=100",
                SERVER, home.resolve("zoo.cfg").toString())
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(home.resolve("log").toFile()))
                .start();
    }

    /** Waits until this server serves. */
    void awaitMode(int id) throws Exception {
        Wait.until("server " + id + " to serve", () -> !mode(id).isEmpty());
    }

    private String mode(int id) {
        try (Socket socket = new Socket("127.0.0.1", clientPorts.get(id - 1))) {
            socket.setSoTimeout(2_000);
            socket.getOutputStream().write("srvr".getBytes(StandardCharsets.US_ASCII));
            String answer = new String(socket.getInputStream().readAllBytes(),
                    StandardCharsets.US_ASCII);
            return answer.lines().filter(line -> line.startsWith("Mode: "))
                    .map(line -> line.substring("Mode: ".length())).findFirst().orElse("");
        } catch (IOException notYet) {
            return "";
        }
    }

    private int clientPort() throws IOException {
        clientPorts.add(freePort());
        return clientPorts.get(clientPorts.size() - 1);
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    @Override
    public void close() throws Exception {
        for (Process server : servers) {
            server.destroy();
            if (!server.waitFor(10, TimeUnit.SECONDS)) {
                throw new IllegalStateException("a server does not end when it is asked to");
            }
        }
    }
}
