// Command evolution takes the place of Evolution API in the tests: it migrates its database as `prisma migrate deploy` does,
// registers one OpenAI key in two instances with Evolution's statements, and runs until it is stopped.
//
//	evolution            migrate, register until both instances have the key, stay until stopped
//	evolution register   register a further key for two further instances, once
//	evolution pause      stay until stopped
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, strings.Join(os.Args[1:], " ")); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, action string) error {
	if action == "pause" {
		<-ctx.Done()
		return nil
	}
	c, schema, err := connect(ctx, os.Getenv("DATABASE_CONNECTION_URI"))
	if err != nil {
		return err
	}
	defer c.Close(context.Background())
	if action == "register" {
		return share(ctx, c, schema, 1)
	}
	if err := deploy(ctx, c, schema); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	log.Print("migrated")
	if err := share(ctx, c, schema, 600); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// connect connects to a URI in Prisma's dialect, and returns the schema that it names.
func connect(ctx context.Context, uri string) (*pgx.Conn, string, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, "", err
	}
	schema := "public"
	if s := u.Query().Get("schema"); s != "" {
		schema = s
	}
	u.RawQuery = "sslmode=disable"
	c, err := pgx.Connect(ctx, u.String())
	return c, schema, err
}

// deploy runs the missing migrations, each in a transaction, under Prisma's advisory lock, and records them.
func deploy(ctx context.Context, c *pgx.Conn, schema string) error {
	name := pgx.Identifier{schema}.Sanitize()
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock(72707369); CREATE SCHEMA IF NOT EXISTS "+name+"; SET search_path TO "+name+`;
		CREATE TABLE IF NOT EXISTS "_prisma_migrations" (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL,
		finished_at TIMESTAMPTZ, migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
		started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`); err != nil {
		return err
	}
	files, err := filepath.Glob("/migrations/*.sql")
	if err != nil {
		return err
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sql")
		sql, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		started, err := c.Exec(ctx, `INSERT INTO "_prisma_migrations"(id, checksum, migration_name) SELECT md5($1), '', $1::text
			WHERE NOT EXISTS (SELECT FROM "_prisma_migrations" WHERE migration_name = $1)`, name)
		if err != nil {
			return err
		}
		if started.RowsAffected() == 0 {
			continue
		}
		if _, err := c.Exec(ctx, "BEGIN;"+string(sql)+"COMMIT"); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := c.Exec(ctx, `UPDATE "_prisma_migrations" SET finished_at = now(), applied_steps_count = 1 WHERE migration_name = $1`, name); err != nil {
			return err
		}
	}
	_, err = c.Exec(ctx, "SELECT pg_advisory_unlock(72707369)")
	return err
}

// share registers one new key in two new instances, each in a number of attempts.
func share(ctx context.Context, c *pgx.Conn, schema string, attempts int) error {
	key := "sk-proj-" + rand.Text()
	for _, instance := range []string{"one-" + rand.Text(), "two-" + rand.Text()} {
		if _, err := c.Exec(ctx, `INSERT INTO `+pgx.Identifier{schema, "Instance"}.Sanitize()+`(id, name) VALUES ($1, $2)`, instance, instance); err != nil {
			return err
		}
		for attempt := 1; ; attempt++ {
			err := register(ctx, c, schema, instance, key)
			if err == nil {
				log.Printf("%.3s: registered", instance)
				break
			}
			log.Printf("%.3s: refused: %v", instance, err)
			if attempt == attempts {
				return fmt.Errorf("instance %.3s has no key", instance)
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	log.Print("two instances share one key")
	return nil
}

// register runs the statements of Evolution 2.3 for POST /openai/creds/{instance}: it looks for the key, then inserts it.
func register(ctx context.Context, c *pgx.Conn, schema, instance, key string) error {
	table := pgx.Identifier{schema, "OpenaiCreds"}.Sanitize()
	found, err := c.Exec(ctx, `SELECT "id", "name", "apiKey" FROM `+table+` WHERE "apiKey" = $1 LIMIT 1`, key)
	if err != nil {
		return err
	}
	if found.RowsAffected() > 0 {
		return fmt.Errorf("this API key is already registered")
	}
	var id string
	return c.QueryRow(ctx, `INSERT INTO `+table+`("id", "name", "apiKey", "updatedAt", "instanceId")
		VALUES ($1, $2, $3, now(), $4) RETURNING "id"`, rand.Text(), "key of "+instance, key, instance).Scan(&id)
}
