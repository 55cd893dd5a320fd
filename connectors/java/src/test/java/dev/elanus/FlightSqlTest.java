package dev.elanus;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.arrow.flight.FlightClient;
import org.apache.arrow.flight.FlightEndpoint;
import org.apache.arrow.flight.FlightInfo;
import org.apache.arrow.flight.FlightStream;
import org.apache.arrow.flight.Location;
import org.apache.arrow.flight.sql.FlightSqlClient;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.Float4Vector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.complex.FixedSizeListVector;
import org.apache.arrow.vector.types.FloatingPointPrecision;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.Schema;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The Flight SQL client: vectors bound as Arrow lists, and results read part by part. */
class FlightSqlTest {
  private static final String TABLE = "of_flight";
  private static final int ROWS = 500;
  private static final int DIM = 4;
  private BufferAllocator allocator;
  private FlightSqlClient client;

  @BeforeEach
  void connect() {
    allocator = new RootAllocator();
    client =
        new FlightSqlClient(
            FlightClient.builder(allocator, Location.forGrpcInsecure(Servers.host(), Servers.port())).build());
    client.executeUpdate("DROP TABLE IF EXISTS " + TABLE);
    client.executeUpdate("CREATE TABLE " + TABLE + " (id BIGINT PRIMARY KEY, v VECTOR(" + DIM + "))");
    try (FlightSqlClient.PreparedStatement insert = client.prepare("INSERT INTO " + TABLE + " VALUES (?, ?)");
        VectorSchemaRoot rows = VectorSchemaRoot.create(schema(), allocator)) {
      BigIntVector ids = (BigIntVector) rows.getVector("id");
      for (int row = 0; row < ROWS; row++) {
        ids.setSafe(row, row);
        put((FixedSizeListVector) rows.getVector("v"), row, row);
      }
      rows.setRowCount(ROWS);
      insert.setParameters(rows);
      assertEquals(ROWS, insert.executeUpdate());
    }
  }

  @AfterEach
  void leave() throws Exception {
    client.executeUpdate("DROP TABLE IF EXISTS " + TABLE);
    client.close();
    allocator.close();
  }

  private static Schema schema() {
    return new Schema(
        List.of(new Field("id", FieldType.notNullable(new ArrowType.Int(64, true)), null), vector("v")));
  }

  private static Field vector(String name) {
    Field item =
        new Field("item", FieldType.notNullable(new ArrowType.FloatingPoint(FloatingPointPrecision.SINGLE)), null);
    return new Field(name, FieldType.notNullable(new ArrowType.FixedSizeList(DIM)), List.of(item));
  }

  private static void put(FixedSizeListVector vectors, int row, float value) {
    vectors.setNotNull(row);
    Float4Vector values = (Float4Vector) vectors.getDataVector();
    for (int element = 0; element < DIM; element++) {
      values.setSafe(row * DIM + element, value);
    }
  }

  private Set<Long> ids(FlightInfo info) throws Exception {
    Set<Long> ids = new HashSet<>();
    for (FlightEndpoint endpoint : info.getEndpoints()) {
      try (FlightStream stream = client.getStream(endpoint.getTicket())) {
        while (stream.next()) {
          BigIntVector column = (BigIntVector) stream.getRoot().getVector("id");
          for (int row = 0; row < column.getValueCount(); row++) {
            assertTrue(ids.add(column.get(row)), "a row was read twice");
          }
        }
      }
    }
    return ids;
  }

  @Test
  void aSearchIsPreparedOnceAndBoundManyTimes() throws Exception {
    try (FlightSqlClient.PreparedStatement search =
            client.prepare("SELECT id FROM " + TABLE + " ORDER BY v <-> ? LIMIT 3");
        VectorSchemaRoot query = VectorSchemaRoot.create(new Schema(List.of(vector("query"))), allocator)) {
      for (int near : new int[] {10, 250, 400}) {
        put((FixedSizeListVector) query.getVector("query"), 0, near);
        query.setRowCount(1);
        search.setParameters(query);
        assertEquals(Set.of(near - 1L, (long) near, near + 1L), ids(search.execute()));
      }
    }
  }

  @Test
  void theEndpointsOfAScanTogetherHaveEveryRowOnce() throws Exception {
    assertEquals(ROWS, ids(client.execute("SELECT id FROM " + TABLE)).size());
  }
}
