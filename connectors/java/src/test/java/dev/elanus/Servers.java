package dev.elanus;

/** Where the server under test is. */
final class Servers {
  private Servers() {}

  static String address() {
    String named = System.getenv("ELANUS_FLIGHT");
    return named == null ? "127.0.0.1:31337" : named;
  }

  static String host() {
    return address().substring(0, address().lastIndexOf(':'));
  }

  static int port() {
    return Integer.parseInt(address().substring(address().lastIndexOf(':') + 1));
  }
}
