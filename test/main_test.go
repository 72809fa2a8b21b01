// Package test tests the program from the outside: it sets the environment, and checks the exit status, the output and
// the catalog of a real PostgreSQL server.
//
// Helpers are in package pgtest. Subjects with many tests have packages of their own beside this one.
package test

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
