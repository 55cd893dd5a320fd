package dev.elanus;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** A table with vectors, some rows, and a prepared nearest-neighbour search, with nothing but JDBC. */
public final class Example {
  private Example() {}

  public static void main(String[] arguments) throws SQLException {
    String server = arguments.length > 0 ? arguments[0] : "127.0.0.1:31337";
    String url = "jdbc:arrow-flight-sql://" + server + "/?useEncryption=false";
    try (Connection connection = DriverManager.getConnection(url);
        Statement statement = connection.createStatement()) {
      statement.executeUpdate("DROP TABLE IF EXISTS birds_of_java");
      statement.executeUpdate(
          "CREATE TABLE birds_of_java (id BIGINT PRIMARY KEY, name VARCHAR(40), v VECTOR(3))");
      statement.executeUpdate(
          "INSERT INTO birds_of_java VALUES (1, 'kite', '[1,0,0]'), (2, 'owl', '[0,1,0]'), (3, 'swift', '[0,0,1]')");
      String nearest = "SELECT name, v <-> CAST(? AS VARCHAR) AS distance FROM birds_of_java ORDER BY distance LIMIT 2";
      try (PreparedStatement search = connection.prepareStatement(nearest)) {
        search.setString(1, "[0.1, 0.9, 0]");
        try (ResultSet rows = search.executeQuery()) {
          while (rows.next()) {
            System.out.printf("%s %.3f%n", rows.getString("name"), rows.getDouble("distance"));
          }
        }
      }
      statement.executeUpdate("DROP TABLE birds_of_java");
    }
  }
}
