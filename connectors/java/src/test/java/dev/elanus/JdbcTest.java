package dev.elanus;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The Arrow Flight SQL JDBC driver, as programs and database browsers use it. */
class JdbcTest {
  private static final String TABLE = "of_jdbc";
  private Connection connection;
  private Statement statement;

  @BeforeEach
  void connect() throws SQLException {
    connection =
        DriverManager.getConnection("jdbc:arrow-flight-sql://" + Servers.address() + "/?useEncryption=false");
    statement = connection.createStatement();
    statement.executeUpdate("DROP TABLE IF EXISTS " + TABLE);
    statement.executeUpdate(
        "CREATE TABLE " + TABLE + " (id BIGINT PRIMARY KEY, name VARCHAR(20), price DOUBLE, v VECTOR(2) NOT NULL)");
    assertEquals(
        3,
        statement.executeUpdate(
            "INSERT INTO " + TABLE + " VALUES (1, 'a', 0.5, '[0,0]'), (2, NULL, 1.5, '[1,0]'), (3, 'c', 2.5, '[5,5]')"));
  }

  @AfterEach
  void leave() throws SQLException {
    statement.executeUpdate("DROP TABLE IF EXISTS " + TABLE);
    connection.close();
  }

  private static List<String> column(ResultSet rows, String name) throws SQLException {
    List<String> values = new ArrayList<>();
    try (rows) {
      while (rows.next()) {
        values.add(rows.getString(name));
      }
    }
    return values;
  }

  @Test
  void rowsHaveTheirTypes() throws SQLException {
    try (ResultSet rows = statement.executeQuery("SELECT id, name, price, v FROM " + TABLE + " ORDER BY id")) {
      assertTrue(rows.next());
      assertEquals(1, rows.getLong("id"));
      assertEquals("a", rows.getString("name"));
      assertEquals(0.5, rows.getDouble("price"));
      assertTrue(rows.next());
      assertEquals(null, rows.getString("name"));
      assertTrue(rows.wasNull());
    }
  }

  @Test
  void aPreparedSearchTakesItsVectorAsText() throws SQLException {
    String nearest = "SELECT id FROM " + TABLE + " WHERE price < ? ORDER BY v <-> CAST(? AS VARCHAR) LIMIT 2";
    try (PreparedStatement search = connection.prepareStatement(nearest)) {
      for (int run = 0; run < 3; run++) {
        search.setDouble(1, 2.0);
        search.setString(2, "[0.9, 0]");
        try (ResultSet rows = search.executeQuery()) {
          assertEquals(List.of("2", "1"), column(rows, "id"));
        }
      }
    }
  }

  @Test
  void aBatchOfInsertsIsWritten() throws SQLException {
    try (PreparedStatement insert =
        connection.prepareStatement("INSERT INTO " + TABLE + " (id, name, v) VALUES (?, ?, '[1,1]')")) {
      for (int id = 10; id < 60; id++) {
        insert.setLong(1, id);
        insert.setString(2, "n" + id);
        insert.addBatch();
      }
      insert.executeBatch();
    }
    try (ResultSet rows = statement.executeQuery("SELECT count(*) AS n FROM " + TABLE)) {
      assertEquals(List.of("53"), column(rows, "n"));
    }
  }

  @Test
  void aBrowserFindsCatalogsTablesColumnsAndKeys() throws SQLException {
    DatabaseMetaData metadata = connection.getMetaData();
    assertEquals("Elanus", metadata.getDatabaseProductName());
    assertEquals("\"", metadata.getIdentifierQuoteString());
    assertFalse(metadata.isReadOnly());
    assertFalse(metadata.supportsTransactions());
    assertTrue(metadata.getSQLKeywords().contains("VECTOR"));
    assertFalse(metadata.getNumericFunctions().isEmpty());
    assertFalse(metadata.getStringFunctions().isEmpty());
    metadata.getSystemFunctions();
    metadata.getTimeDateFunctions();
    metadata.getMaxTableNameLength();
    metadata.supportsGroupBy();
    metadata.supportsUnion();
    metadata.supportsConvert();
    metadata.supportsResultSetType(ResultSet.TYPE_FORWARD_ONLY);
    assertEquals(List.of("elanus"), column(metadata.getCatalogs(), "TABLE_CAT"));
    assertTrue(column(metadata.getSchemas(), "TABLE_SCHEM").contains("default"));
    assertTrue(column(metadata.getTableTypes(), "TABLE_TYPE").contains("TABLE"));
    assertEquals(
        List.of(TABLE),
        column(metadata.getTables("elanus", "default", TABLE, new String[] {"TABLE"}), "TABLE_NAME"));
    assertEquals(
        List.of("id", "name", "price", "v"),
        column(metadata.getColumns("elanus", "default", TABLE, "%"), "COLUMN_NAME"));
    assertEquals(List.of("id"), column(metadata.getPrimaryKeys("elanus", "default", TABLE), "COLUMN_NAME"));
    assertEquals(List.of(), column(metadata.getImportedKeys("elanus", "default", TABLE), "FKTABLE_NAME"));
    assertEquals(List.of(), column(metadata.getExportedKeys("elanus", "default", TABLE), "FKTABLE_NAME"));
    metadata.getTypeInfo().close();
  }

  @Test
  void aMistakeIsAnExceptionWithTheServersWords() {
    SQLException error =
        assertThrows(SQLException.class, () -> statement.executeQuery("SELECT nme FROM " + TABLE).next());
    assertTrue(error.getMessage().contains("column 'nme' not found"), error.getMessage());
  }
}
