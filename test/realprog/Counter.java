// A Java program with threads and garbage. Ends on SIGTERM (shutdown hook) with PASS.
import java.util.HashMap;
import java.util.concurrent.atomic.AtomicLong;

public class Counter {
    static volatile boolean stop;
    static volatile String failure;

    static void work(int index, AtomicLong rounds) {
        HashMap<Integer, String> map = new HashMap<>();
        int n = 0;
        while (!stop) {
            map.put(n % 5000, index + "-" + n);
            if (n >= 5000 && !map.get((n + 1) % 5000).equals(index + "-" + (n - 4999))) {
                failure = "thread " + index + " round " + n;
                return;
            }
            n++;
            rounds.incrementAndGet();
            if (n % 1000 == 0) {
                try { Thread.sleep(1); } catch (InterruptedException e) { return; }
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        Thread[] threads = new Thread[4];
        AtomicLong[] rounds = new AtomicLong[4];
        for (int i = 0; i < 4; i++) {
            final int index = i;
            rounds[i] = new AtomicLong();
            threads[i] = new Thread(() -> work(index, rounds[index]));
            threads[i].start();
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stop = true;
            try { for (Thread t : threads) t.join(); } catch (InterruptedException e) { failure = "interrupted"; }
            System.out.println(failure == null ? "PASS" : "FAIL: " + failure);
            System.out.flush();
        }));
        System.out.println("READY");
    }
}
