// Floor connects with the program's own library, sends queries and discards what is answered: what a Go program takes at least that
// asks the same.
package main

import (
	"context"
	"log"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// main takes a connection string and queries. An empty argument ends those that are sent at once.
func main() {
	ctx := context.Background()
	c, err := pgconn.Connect(ctx, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	sent := 0
	for _, query := range append(os.Args[2:], "") {
		if query != "" {
			c.Frontend().Send(&pgproto3.Query{String: query})
			sent++
			continue
		}
		if err := c.Frontend().Flush(); err != nil {
			log.Fatal(err)
		}
		for sent > 0 {
			message, err := c.ReceiveMessage(ctx)
			if err != nil {
				log.Fatal(err)
			}
			switch m := message.(type) {
			case *pgproto3.ErrorResponse:
				log.Fatal(m.Message)
			case *pgproto3.ReadyForQuery:
				sent--
			}
		}
	}
	_ = c.Close(ctx)
}
