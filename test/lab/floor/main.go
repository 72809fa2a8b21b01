// Floor connects with the program's own library and runs one statement: what a Go program takes at least that does this work.
package main

import (
	"context"
	"log"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
)

// main takes a connection string and a statement.
func main() {
	ctx := context.Background()
	c, err := pgconn.Connect(ctx, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Exec(ctx, os.Args[2]).Close(); err != nil {
		log.Fatal(err)
	}
	_ = c.Close(ctx)
}
