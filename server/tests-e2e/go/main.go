// Elanus from Go, with database/sql and the Flight SQL driver of Apache Arrow.
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	db, err := sql.Open("flightsql", "flightsql://"+os.Args[1])
	must(err)
	defer db.Close()

	statements := []string{
		"DROP TABLE IF EXISTS from_go",
		"CREATE TABLE from_go (id BIGINT PRIMARY KEY, v VECTOR(2), name VARCHAR(20))",
		"INSERT INTO from_go VALUES (1, '[0,0]', 'owl'), (2, '[1,1]', 'kite'), (3, '[9,9]', 'swan')",
	}
	for _, statement := range statements {
		_, err = db.Exec(statement)
		must(err)
	}

	// The driver cannot bind lists; a vector is bound as text.
	rows, err := db.Query("SELECT id, name FROM from_go WHERE id < ? ORDER BY v <-> ?::text LIMIT 2", int64(3), "[0.9,0.9]")
	must(err)
	for rows.Next() {
		var id int64
		var name string
		must(rows.Scan(&id, &name))
		fmt.Println(id, name)
	}
	must(rows.Err())
	must(rows.Close())

	_, err = db.Query("SELECT nme FROM from_go")
	fmt.Println(err != nil)
	_, err = db.Exec("DROP TABLE from_go")
	must(err)
}
