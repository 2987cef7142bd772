import java.util.Objects;
import java.util.concurrent.Callable;

/** Waiting for a condition, and saying what did not hold. */
final class Wait {
    private static final long LIMIT_MS = 60_000;
    private static final long LOOK_EVERY_MS = 20;

    private Wait() {}

    static void until(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + LIMIT_MS * 1_000_000;
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("waited in vain for " + what);
            }
            Thread.sleep(LOOK_EVERY_MS);
        }
    }

    static void equal(Object expected, Object actual) {
        if (!Objects.equals(expected, actual)) {
            throw new IllegalStateException("expected " + expected + ", but it is " + actual);
        }
    }

    static void holds(String what, boolean condition) {
        if (!condition) {
            throw new IllegalStateException("it does not hold that " + what);
        }
    }
}
