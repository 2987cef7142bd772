import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * Curator's recipes against three servers. Prints one line per recipe, {@code passed NAME} or
 * {@code failed NAME: why}; the folder for the servers is its argument.
 */
public final class Recipes {
    private static final int SESSION_MS = 10_000;
    private static final int CONNECT_MS = 10_000;

    private final Ensemble ensemble;
    private final List<CuratorFramework> clients = new CopyOnWriteArrayList<>();

    private Recipes(Ensemble ensemble) {
        this.ensemble = ensemble;
    }

    @FunctionalInterface
    private interface Recipe {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        try (Ensemble ensemble = new Ensemble(Path.of(arguments[0]))) {
            Recipes recipes = new Recipes(ensemble);
            recipes.all().forEach(recipes::run);
        }
        System.exit(0);
    }

    private Map<String, Recipe> all() {
        Map<String, Recipe> all = new LinkedHashMap<>();
        all.put("LeaderLatch: one leads, and the next when it closes", this::leaderLatch);
        all.put("LeaderLatch: its leader goes on when the servers' leader dies", this::latchOutlives);
        all.put("LeaderSelector: each leads once, never two at a time", this::leaderSelector);
        all.put("InterProcessMutex: no two hold it", this::mutex);
        all.put("InterProcessMutex: freed by the end of its session", this::mutexFreed);
        all.put("InterProcessReadWriteLock: readers together, a writer alone", this::readWriteLock);
        all.put("InterProcessSemaphoreV2: as many leases as it has", this::semaphore);
        all.put("PersistentNode: back after a deletion and after an expired session",
                this::persistentNode);
        all.put("CuratorCache: a subtree as it is, through events", this::cache);
        all.put("transaction: all or nothing", this::transaction);
        all.put("DistributedAtomicLong and SharedCount: no lost update", this::counters);
        all.put("DistributedDoubleBarrier: all enter and leave together", this::barrier);
        all.put("SimpleDistributedQueue: every element once, in order", this::queue);
        all.put("GroupMember: who is there", this::group);
        all.put("container and TTL nodes: gone when they are due", this::extendedTypes);
        return all;
    }

    private void run(String name, Recipe recipe) {
        String verdict = "passed " + name;
        try {
            recipe.run();
        } catch (Throwable failure) {
            failure.printStackTrace();
            verdict = "failed " + name + ": " + failure;
        }
        clients.forEach(CuratorFramework::close);
        clients.clear();
        System.out.println(verdict.replace('\n', ' '));
        System.out.flush();
    }

    private CuratorFramework client() {
        CuratorFramework client = CuratorFrameworkFactory.newClient(
                ensemble.connectString(), SESSION_MS, CONNECT_MS, new RetryNTimes(20, 250));
        client.start();
        clients.add(client);
        return client;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Ends a session as its expiry would: somebody else closes it. */
    private void expire(CuratorFramework client) throws Exception {
        ZooKeeper handle = client.getZookeeperClient().getZooKeeper();
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper twin = new ZooKeeper(ensemble.connectString(), SESSION_MS,
                event -> connected.countDown(), handle.getSessionId(), handle.getSessionPasswd());
        Wait.holds("the session moves", connected.await(30, TimeUnit.SECONDS));
        twin.close();
    }

    /** Runs the task on so many threads, each with a client of its own, and waits for all. */
    private void together(int count, ThrowingTask task) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        List<Future<Void>> ends = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            CuratorFramework client = client();
            ends.add(threads.submit((Callable<Void>) () -> {
                task.run(client);
                return null;
            }));
        }
        for (Future<Void> end : ends) {
            end.get(120, TimeUnit.SECONDS);
        }
        threads.shutdown();
    }

    @FunctionalInterface
    private interface ThrowingTask {
        void run(CuratorFramework client) throws Exception;
    }

    private void leaderLatch() throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            LeaderLatch latch = new LeaderLatch(client(), "/latch", "candidate-" + i);
            latch.start();
            latches.add(latch);
        }
        while (!latches.isEmpty()) {
            Wait.until("a leader", () -> latches.stream().anyMatch(LeaderLatch::hasLeadership));
            Wait.equal(1L, latches.stream().filter(LeaderLatch::hasLeadership).count());
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership)
                    .findFirst().orElseThrow();
            Wait.equal(leader.getId(), latches.get(0).getLeader().getId());
            latches.remove(leader);
            leader.close();
        }
    }

    private void latchOutlives() throws Exception {
        LeaderLatch first = new LeaderLatch(client(), "/outlives", "first");
        first.start();
        first.await(30, TimeUnit.SECONDS);
        LeaderLatch second = new LeaderLatch(client(), "/outlives", "second");
        second.start();
        int dead = ensemble.leader();
        ensemble.kill(dead);
        // A connection to the dead server is lost; its latch steps back until it is connected.
        Wait.until("one leader after the crash",
                () -> first.hasLeadership() ^ second.hasLeadership());
        client().create().forPath("/after-the-crash", bytes("written"));
        ensemble.start(dead);
        ensemble.awaitMode(dead);
        Wait.equal(true, first.hasLeadership() ^ second.hasLeadership());
        first.close();
        second.close();
    }

    private void leaderSelector() throws Exception {
        AtomicInteger leading = new AtomicInteger();
        AtomicInteger terms = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        List<LeaderSelector> selectors = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            LeaderSelector selector = new LeaderSelector(client(), "/selector",
                    new LeaderSelectorListenerAdapter() {
                        @Override
                        public void takeLeadership(CuratorFramework client) throws Exception {
                            most.accumulateAndGet(leading.incrementAndGet(), Math::max);
                            Thread.sleep(20);
                            leading.decrementAndGet();
                            terms.incrementAndGet();
                        }
                    });
            selector.start();
            selectors.add(selector);
        }
        Wait.until("each to have led", () -> terms.get() == 4);
        Wait.equal(1, most.get());
        selectors.forEach(LeaderSelector::close);
    }

    private void mutex() throws Exception {
        int[] unguarded = new int[1];
        together(5, client -> {
            InterProcessMutex mutex = new InterProcessMutex(client, "/mutex");
            for (int i = 0; i < 20; i++) {
                Wait.holds("the mutex comes", mutex.acquire(60, TimeUnit.SECONDS));
                int read = unguarded[0];
                Thread.yield();
                unguarded[0] = read + 1;
                mutex.release();
            }
        });
        Wait.equal(100, unguarded[0]);
    }

    private void mutexFreed() throws Exception {
        CuratorFramework holder = client();
        new InterProcessMutex(holder, "/freed").acquire();
        InterProcessMutex waiting = new InterProcessMutex(client(), "/freed");
        Wait.holds("it is held", !waiting.acquire(300, TimeUnit.MILLISECONDS));
        expire(holder);
        Wait.holds("it is free", waiting.acquire(30, TimeUnit.SECONDS));
    }

    private void readWriteLock() throws Exception {
        InterProcessReadWriteLock one = new InterProcessReadWriteLock(client(), "/read-write");
        InterProcessReadWriteLock two = new InterProcessReadWriteLock(client(), "/read-write");
        one.readLock().acquire();
        Wait.holds("readers share", two.readLock().acquire(30, TimeUnit.SECONDS));
        two.readLock().release();
        Wait.holds("a writer waits", !two.writeLock().acquire(300, TimeUnit.MILLISECONDS));
        one.readLock().release();
        Wait.holds("a writer follows", two.writeLock().acquire(30, TimeUnit.SECONDS));
        Wait.holds("a reader waits", !one.readLock().acquire(300, TimeUnit.MILLISECONDS));
        two.writeLock().release();
    }

    private void semaphore() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        together(6, client -> {
            InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, "/leases", 2);
            for (int i = 0; i < 5; i++) {
                Lease lease = semaphore.acquire();
                most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                Thread.sleep(5);
                inside.decrementAndGet();
                semaphore.returnLease(lease);
            }
        });
        Wait.holds("never more than two are inside", most.get() <= 2);
    }

    private void persistentNode() throws Exception {
        CuratorFramework owner = client();
        CuratorFramework other = client();
        PersistentNode node =
                new PersistentNode(owner, CreateMode.EPHEMERAL, false, "/persistent", bytes("here"));
        node.start();
        Wait.holds("it is made", node.waitForInitialCreate(30, TimeUnit.SECONDS));
        long session = other.checkExists().forPath("/persistent").getEphemeralOwner();
        other.delete().forPath("/persistent");
        Wait.until("it to be made again", () -> other.checkExists().forPath("/persistent") != null);
        expire(owner);
        Wait.until("another session to own it", () -> {
            Stat stat = other.checkExists().forPath("/persistent");
            return stat != null && stat.getEphemeralOwner() != session;
        });
        Wait.equal("here", new String(other.getData().forPath("/persistent")));
        node.close();
        Wait.until("it to be gone", () -> other.checkExists().forPath("/persistent") == null);
    }

    private void cache() throws Exception {
        CuratorFramework writer = client();
        writer.create().creatingParentsIfNeeded().forPath("/cached/a", bytes("1"));
        List<String> events = new CopyOnWriteArrayList<>();
        CountDownLatch initial = new CountDownLatch(1);
        CuratorCache cache = CuratorCache.build(client(), "/cached");
        cache.listenable().addListener(CuratorCacheListener.builder()
                .forCreates(node -> events.add("created " + node.getPath()))
                .forChanges((before, after) -> events.add("changed " + after.getPath()
                        + " to " + new String(after.getData())))
                .forDeletes(node -> events.add("deleted " + node.getPath()))
                .forInitialized(initial::countDown).build());
        cache.start();
        Wait.holds("it is filled", initial.await(30, TimeUnit.SECONDS));
        Collections.sort(events);
        Wait.equal(List.of("created /cached", "created /cached/a"), List.copyOf(events));
        events.clear();
        List<String> expected = List.of("created /cached/a/b", "changed /cached/a to 2",
                "deleted /cached/a/b", "created /cached/c");
        writer.create().forPath("/cached/a/b", bytes("x"));
        Wait.until("an event", () -> events.size() == 1);
        writer.setData().forPath("/cached/a", bytes("2"));
        Wait.until("an event", () -> events.size() == 2);
        writer.delete().forPath("/cached/a/b");
        Wait.until("an event", () -> events.size() == 3);
        writer.create().forPath("/cached/c", bytes("x"));
        Wait.until("an event", () -> events.size() == 4);
        Wait.equal(expected, List.copyOf(events));
        Wait.equal("2", new String(cache.get("/cached/a").orElseThrow().getData()));
        Wait.equal(3, cache.size());
        cache.close();
    }

    private void transaction() throws Exception {
        CuratorFramework client = client();
        List<CuratorTransactionResult> results = client.transaction().forOperations(
                client.transactionOp().create().forPath("/all", bytes("1")),
                client.transactionOp().create().forPath("/all/child", bytes("2")),
                client.transactionOp().setData().withVersion(0).forPath("/all", bytes("3")),
                client.transactionOp().check().withVersion(1).forPath("/all"),
                client.transactionOp().delete().forPath("/all/child"));
        Wait.equal(5, results.size());
        Wait.equal(1, results.get(2).getResultStat().getVersion());
        Wait.equal("/all/child", results.get(1).getResultPath());
        try {
            client.transaction().forOperations(
                    client.transactionOp().create().forPath("/nothing", bytes("1")),
                    client.transactionOp().setData().withVersion(7).forPath("/all", bytes("4")));
            throw new IllegalStateException("a wrong version was taken");
        } catch (KeeperException.BadVersionException refused) {
            Wait.equal(2, refused.getResults().size());
        }
        Wait.equal(null, client.checkExists().forPath("/nothing"));
        Wait.equal("3", new String(client.getData().forPath("/all")));
    }

    private void counters() throws Exception {
        together(4, client -> {
            DistributedAtomicLong number =
                    new DistributedAtomicLong(client, "/long", new RetryNTimes(1_000, 1));
            for (int i = 0; i < 25; i++) {
                Wait.holds("it counts", number.increment().succeeded());
            }
        });
        CuratorFramework client = client();
        DistributedAtomicLong number = new DistributedAtomicLong(client, "/long", new RetryNTimes(1, 1));
        Wait.equal(100L, number.get().postValue());
        SharedCount one = new SharedCount(client, "/shared", 5);
        SharedCount two = new SharedCount(client(), "/shared", 5);
        one.start();
        two.start();
        Wait.holds("it is set", one.trySetCount(one.getVersionedValue(), 6));
        Wait.until("the other to hear of it", () -> two.getCount() == 6);
        one.close();
        two.close();
    }

    private void barrier() throws Exception {
        AtomicInteger entered = new AtomicInteger();
        together(3, client -> {
            DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, "/barrier", 3);
            entered.incrementAndGet();
            Wait.holds("all come", barrier.enter(60, TimeUnit.SECONDS));
            Wait.equal(3, entered.get());
            Wait.holds("all go", barrier.leave(60, TimeUnit.SECONDS));
        });
    }

    private void queue() throws Exception {
        SimpleDistributedQueue in = new SimpleDistributedQueue(client(), "/queue");
        for (int i = 0; i < 30; i++) {
            Wait.holds("it is taken", in.offer(bytes(String.format("%02d", i))));
        }
        List<String> out = Collections.synchronizedList(new ArrayList<>());
        together(3, client -> {
            SimpleDistributedQueue queue = new SimpleDistributedQueue(client, "/queue");
            String before = "";
            for (byte[] element = queue.poll(); element != null; element = queue.poll()) {
                String now = new String(element);
                Wait.holds("it is in order", before.compareTo(now) < 0);
                before = now;
                out.add(now);
            }
        });
        Collections.sort(out);
        Wait.equal(30, out.size());
        Wait.equal(30L, out.stream().distinct().count());
    }

    private void group() throws Exception {
        GroupMember one = new GroupMember(client(), "/group", "one");
        GroupMember two = new GroupMember(client(), "/group", "two");
        one.start();
        two.start();
        Wait.until("both to see both", () -> one.getCurrentMembers().size() == 2
                && two.getCurrentMembers().size() == 2);
        two.close();
        Wait.until("one to be alone", () -> one.getCurrentMembers().size() == 1);
        one.close();
    }

    private void extendedTypes() throws Exception {
        CuratorFramework client = client();
        client.create().withMode(CreateMode.CONTAINER).forPath("/container", bytes("x"));
        client.create().forPath("/container/child", bytes("x"));
        client.delete().forPath("/container/child");
        client.create().withTtl(200).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/brief", bytes("x"));
        Wait.until("both to be gone", () -> client.checkExists().forPath("/container") == null
                && client.checkExists().forPath("/brief") == null);
    }
}
