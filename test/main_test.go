// Package test tests the program from the outside: it sets the environment, and checks the exit status, the output and
// the catalog of a real PostgreSQL server.
//
// Helpers are in package pgtest, end-to-end tests in e2e, and measurements in lab.
package test

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// Settings that many tests use.
const (
	indexOnly = "PATCH_FIXES=apikey-index" // the default of auto before Evolution 2.3.0
	allFixes  = "PATCH_FIXES=apikey-index,apikey-check,name-index"
	guard     = "PATCH_ON_MISSING_TABLE=guard"
)
