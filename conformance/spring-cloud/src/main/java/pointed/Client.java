package pointed;

import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.appinfo.InstanceInfo.InstanceStatus;
import com.netflix.discovery.EurekaClient;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.function.BooleanSupplier;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.loadbalancer.LoadBalancerClient;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Spring applications that know nothing but the addresses of their Eureka servers. */
@SpringBootApplication
@RestController
public class Client {
  private static final long NEVER_MS = 120_000;
  private static final int LEASE_SECONDS = 10;

  @GetMapping("/hello")
  String hello() {
    return "hello";
  }

  public static void main(String[] arguments) throws Exception {
    String servers = arguments[0];
    if (servers.contains(",")) {
      bereaved(servers);
    } else {
      life(servers);
    }
    System.out.println("done");
    System.exit(0);
  }

  /** One sees the other come, calls it, sees it overruled, change its word, and leave. */
  private static void life(String server) throws Exception {
    ConfigurableApplicationContext watcher = start("watcher", server);
    DiscoveryClient discovery = watcher.getBean(DiscoveryClient.class);
    LoadBalancerClient balancer = watcher.getBean(LoadBalancerClient.class);
    ConfigurableApplicationContext other = start("other", server);
    BooleanSupplier isSeen = () -> discovery.getInstances("other").size() == 1;
    eventually("it sees another come", isSeen);
    eventually("it calls it through the balancer", () -> "hello".equals(call(balancer)));

    String id = other.getBean(ApplicationInfoManager.class).getInfo().getInstanceId();
    String path = server + "apps/OTHER/" + id + "/status";
    send("PUT", path + "?value=OUT_OF_SERVICE");
    eventually("it sees an override", () -> !isSeen.getAsBoolean());
    send("DELETE", path + "?value=UP");
    eventually("it sees the override end", isSeen);

    ApplicationInfoManager own = other.getBean(ApplicationInfoManager.class);
    own.setInstanceStatus(InstanceStatus.DOWN);
    eventually("it sees another say that it is down", () -> !isSeen.getAsBoolean());
    own.setInstanceStatus(InstanceStatus.UP);
    eventually("it sees it say that it is up", isSeen);
    EurekaClient client = watcher.getBean(EurekaClient.class);
    eventually("it finds it by its virtual host",
        () -> client.getInstancesByVipAddress("other", false).size() == 1);
    other.close();
    eventually("it sees another leave", () -> discovery.getInstances("other").isEmpty());
    watcher.close();
  }

  /** The leader is killed between them: they go on renewing, and see others come and go. */
  private static void bereaved(String servers) throws Exception {
    ConfigurableApplicationContext watcher = start("watcher", servers);
    DiscoveryClient discovery = watcher.getBean(DiscoveryClient.class);
    LoadBalancerClient balancer = watcher.getBean(LoadBalancerClient.class);
    ConfigurableApplicationContext other = start("other", servers);
    BooleanSupplier isSeen = () -> discovery.getInstances("other").size() == 1;
    eventually("it sees another come", isSeen);
    String script = System.getenv("CASES") + "/kill-leader.bash";
    if (new ProcessBuilder("bash", script).inheritIO().start().waitFor() != 0) {
      throw new AssertionError("the leader is not killed");
    }
    ConfigurableApplicationContext newcomer = start("newcomer", servers);
    BooleanSupplier isNewSeen = () -> discovery.getInstances("newcomer").size() == 1;
    eventually("it sees one come that came without the leader", isNewSeen);
    long until = System.currentTimeMillis() + 2 * LEASE_SECONDS * 1000L;
    while (System.currentTimeMillis() < until) {
      if (!isSeen.getAsBoolean() || !isNewSeen.getAsBoolean()) {
        throw new AssertionError("one is lost that renews");
      }
      Thread.sleep(50);
    }
    System.out.println("ok: none is lost that renews");
    eventually("it calls another through the balancer", () -> "hello".equals(call(balancer)));
    other.close();
    eventually("it sees another leave", () -> discovery.getInstances("other").isEmpty());
    newcomer.close();
    watcher.close();
  }

  private static ConfigurableApplicationContext start(String name, String server) {
    return new SpringApplicationBuilder(Client.class).run(
        "--spring.application.name=" + name, "--server.port=0", "--server.address=127.0.0.1",
        "--logging.level.root=WARN", "--spring.main.banner-mode=off",
        "--eureka.client.service-url.defaultZone=" + server,
        "--eureka.client.registry-fetch-interval-seconds=1",
        "--eureka.client.initial-instance-info-replication-interval-seconds=0",
        "--eureka.client.instance-info-replication-interval-seconds=1",
        "--eureka.instance.lease-renewal-interval-in-seconds=1",
        "--eureka.instance.lease-expiration-duration-in-seconds=" + LEASE_SECONDS,
        "--eureka.instance.prefer-ip-address=true", "--eureka.instance.ip-address=127.0.0.1",
        "--eureka.instance.instance-id=localhost:" + name + ":${random.value}",
        "--spring.cloud.loadbalancer.cache.enabled=false");
  }

  private static String call(LoadBalancerClient balancer) {
    var chosen = balancer.choose("other");
    if (chosen == null) {
      return "nobody";
    }
    try {
      return send("GET", chosen.getUri() + "/hello");
    } catch (Exception broken) {
      return broken.toString();
    }
  }

  private static String send(String method, String address) throws Exception {
    var request = HttpRequest.newBuilder(URI.create(address))
        .method(method, HttpRequest.BodyPublishers.noBody()).build();
    return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
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
}
