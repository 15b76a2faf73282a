package pointed;

import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.appinfo.InstanceInfo;
import com.netflix.appinfo.InstanceInfo.InstanceStatus;
import com.netflix.appinfo.MyDataCenterInstanceConfig;
import com.netflix.appinfo.providers.EurekaConfigBasedInstanceInfoProvider;
import com.netflix.discovery.DefaultEurekaClientConfig;
import com.netflix.discovery.DiscoveryClient;
import com.netflix.discovery.shared.Application;
import com.netflix.discovery.shared.transport.jersey3.Jersey3TransportClientFactories;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.function.BooleanSupplier;

/** Clients as Netflix writes them, by deltas. The first argument names the servers, with commas. */
public class Netflix {
  private static final long NEVER_MS = 120_000;
  private static final int LEASE_SECONDS = 10;

  public static void main(String[] arguments) throws Exception {
    List<String> servers = List.of(arguments[0].split(","));
    life(servers);
    if (servers.size() > 1) {
      bereaved(servers);
    }
    System.out.println("done");
    System.exit(0);
  }

  /** One sees the other come, sees it overruled, change its word, and leave. */
  private static void life(List<String> servers) throws Exception {
    One watcher = new One("watcher", 9001, servers);
    One other = new One("other", 9002, servers);
    eventually("it sees another come", () -> watcher.sees("other", InstanceStatus.UP));
    eventually("it finds it by its virtual host",
        () -> watcher.client.getInstancesByVipAddress("other.vip", false).size() == 1);

    String path = servers.get(0) + "apps/OTHER/localhost:other:9002/status";
    send("PUT", path + "?value=OUT_OF_SERVICE");
    eventually("it sees an override", () -> watcher.sees("other", InstanceStatus.OUT_OF_SERVICE));
    send("DELETE", path + "?value=UP");
    eventually("it sees the override end", () -> watcher.sees("other", InstanceStatus.UP));

    other.manager.setInstanceStatus(InstanceStatus.DOWN);
    eventually("it sees another say that it is down",
        () -> watcher.sees("other", InstanceStatus.DOWN));
    other.manager.setInstanceStatus(InstanceStatus.UP);
    eventually("it sees it say that it is up", () -> watcher.sees("other", InstanceStatus.UP));
    other.client.shutdown();
    eventually("it sees another leave", () -> !watcher.sees("other", null));
    watcher.client.shutdown();
  }

  /** The leader is killed between them: they go on renewing, and see others come and go. */
  private static void bereaved(List<String> servers) throws Exception {
    One watcher = new One("watcher", 9001, servers);
    One other = new One("other", 9002, servers);
    eventually("it sees another come", () -> watcher.sees("other", InstanceStatus.UP));
    killLeader();
    One newcomer = new One("newcomer", 9003, servers);
    eventually("it sees one come that came without the leader",
        () -> watcher.sees("newcomer", InstanceStatus.UP));
    holds("none is lost that renews", 2 * LEASE_SECONDS,
        () -> watcher.sees("other", InstanceStatus.UP));
    other.client.shutdown();
    eventually("it sees another leave", () -> !watcher.sees("other", null));
    newcomer.client.shutdown();
    eventually("it sees the newcomer leave", () -> !watcher.sees("newcomer", null));
    watcher.client.shutdown();
  }

  private static void killLeader() throws Exception {
    String script = System.getenv("CASES") + "/kill-leader.bash";
    int status = new ProcessBuilder("bash", script).inheritIO().start().waitFor();
    if (status != 0) {
      throw new AssertionError("the leader is not killed");
    }
  }

  /** A client with its instance. */
  private static final class One {
    final ApplicationInfoManager manager;
    final DiscoveryClient client;

    One(String app, int port, List<String> servers) {
      var instance = new Instance(app, port);
      InstanceInfo info = new EurekaConfigBasedInstanceInfoProvider(instance).get();
      manager = new ApplicationInfoManager(instance, info);
      var factories = Jersey3TransportClientFactories.getInstance();
      client = new DiscoveryClient(manager, new Client(servers), factories);
      manager.setInstanceStatus(InstanceStatus.UP);
    }

    /** Whether it sees one instance of an application, with this word if one is given. */
    boolean sees(String app, InstanceStatus word) {
      Application found = client.getApplication(app);
      List<InstanceInfo> all = found == null ? List.of() : found.getInstancesAsIsFromEureka();
      return all.size() == 1 && (word == null || all.get(0).getStatus() == word);
    }
  }

  private static final class Instance extends MyDataCenterInstanceConfig {
    private final String app;
    private final int port;

    Instance(String app, int port) {
      this.app = app;
      this.port = port;
    }

    @Override public String getAppname() { return app; }
    @Override public String getInstanceId() { return "localhost:" + app + ":" + port; }
    @Override public String getHostName(boolean refresh) { return "localhost"; }
    @Override public String getIpAddress() { return "127.0.0.1"; }
    @Override public int getNonSecurePort() { return port; }
    @Override public String getVirtualHostName() { return app + ".vip"; }
    @Override public int getLeaseRenewalIntervalInSeconds() { return 1; }
    @Override public int getLeaseExpirationDurationInSeconds() { return LEASE_SECONDS; }
  }

  private static final class Client extends DefaultEurekaClientConfig {
    private final List<String> servers;

    Client(List<String> servers) {
      this.servers = servers;
    }

    @Override public List<String> getEurekaServerServiceUrls(String zone) { return servers; }
    @Override public int getRegistryFetchIntervalSeconds() { return 1; }
    @Override public int getInitialInstanceInfoReplicationIntervalSeconds() { return 0; }
    @Override public int getInstanceInfoReplicationIntervalSeconds() { return 1; }
    @Override public boolean shouldFilterOnlyUpInstances() { return false; }
  }

  private static void send(String method, String address) throws Exception {
    var request = HttpRequest.newBuilder(URI.create(address))
        .method(method, HttpRequest.BodyPublishers.noBody()).build();
    HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
  }

  private static void eventually(String claim, BooleanSupplier isSo) throws Exception {
    long deadline = System.currentTimeMillis() + NEVER_MS;
    while (System.currentTimeMillis() < deadline) {
      if (isSo.getAsBoolean()) {
        System.out.println("ok: " + claim);
        return;
      }
      Thread.sleep(50);
    }
    throw new AssertionError("not so within " + NEVER_MS + " ms: " + claim);
  }

  private static void holds(String claim, int seconds, BooleanSupplier isSo) throws Exception {
    long until = System.currentTimeMillis() + seconds * 1000L;
    while (System.currentTimeMillis() < until) {
      if (!isSo.getAsBoolean()) {
        throw new AssertionError("no longer so: " + claim);
      }
      Thread.sleep(50);
    }
    System.out.println("ok: " + claim);
  }
}
