import java.sql.DriverManager;
import java.sql.ResultSet;
import java.util.Arrays;
import java.util.Random;

/**
 * Prepared nearest-neighbour searches through JDBC, one after the other: queries per second, p50 and p99.
 *
 * <pre>
 *   java --add-opens=java.base/java.nio=ALL-UNNAMED -cp flight-sql-jdbc-driver.jar JdbcSearch.java HOST:PORT TABLE COLUMN DIM SECONDS
 * </pre>
 */
public final class JdbcSearch {
  private JdbcSearch() {}

  public static void main(String[] arguments) throws Exception {
    String table = arguments[1];
    String column = arguments[2];
    int dimension = Integer.parseInt(arguments[3]);
    double seconds = Double.parseDouble(arguments[4]);
    String url = "jdbc:arrow-flight-sql://" + arguments[0] + "/?useEncryption=false";
    String sql = "SELECT id FROM " + table + " ORDER BY " + column + " <-> CAST(? AS VARCHAR) LIMIT 10";
    String[] queries = queries(dimension);
    try (var connection = DriverManager.getConnection(url);
        var search = connection.prepareStatement(sql)) {
      // The first seconds are the JVM's own.
      run(search, queries, Math.min(seconds, 5));
      long[] nanos = run(search, queries, seconds);
      Arrays.sort(nanos);
      double total = Arrays.stream(nanos).sum() / 1e9;
      System.out.printf(
          "{\"searches\": %d, \"qps\": %.0f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}%n",
          nanos.length, nanos.length / total, at(nanos, 0.5), at(nanos, 0.99));
    }
  }

  private static double at(long[] sorted, double share) {
    return sorted[(int) (share * (sorted.length - 1))] / 1e6;
  }

  private static long[] run(java.sql.PreparedStatement search, String[] queries, double seconds) throws Exception {
    long[] nanos = new long[1 << 20];
    int count = 0;
    long end = System.nanoTime() + (long) (seconds * 1e9);
    while (System.nanoTime() < end && count < nanos.length) {
      long started = System.nanoTime();
      search.setString(1, queries[count % queries.length]);
      int rows = 0;
      try (ResultSet found = search.executeQuery()) {
        while (found.next()) {
          found.getLong(1);
          rows++;
        }
      }
      if (rows != 10) {
        throw new IllegalStateException(rows + " rows instead of 10");
      }
      nanos[count++] = System.nanoTime() - started;
    }
    return Arrays.copyOf(nanos, count);
  }

  private static String[] queries(int dimension) {
    Random random = new Random(1);
    String[] queries = new String[200];
    for (int query = 0; query < queries.length; query++) {
      float[] vector = new float[dimension];
      for (int at = 0; at < dimension; at++) {
        vector[at] = (float) random.nextGaussian();
      }
      queries[query] = Arrays.toString(vector);
    }
    return queries;
  }
}
