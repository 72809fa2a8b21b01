// Command real checks what this project relies on against a real, patched Evolution API: that two instances can store one OpenAI
// key, and that the key arrives at OpenAI. It takes OpenAI's place itself.
//
//	EVOLUTION               the URL of Evolution
//	AUTHENTICATION_API_KEY  Evolution's
//	OPENAI_ADDRESS          host:port on which it takes OpenAI's place; Evolution must have it in OPENAI_BASE_URL, with /v1
//	WAIT                    how long to wait for Evolution, 3m if unset
//
// It prints a line for each step. The exit status is 1 if a step does not end as expected.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	wait, err := time.ParseDuration(cmp.Or(os.Getenv("WAIT"), "3m"))
	if err != nil {
		return fmt.Errorf("WAIT: %w", err)
	}
	listener, err := net.Listen("tcp", os.Getenv("OPENAI_ADDRESS"))
	if err != nil {
		return fmt.Errorf("OPENAI_ADDRESS: %w", err)
	}
	defer listener.Close()
	e := evolution{url: strings.TrimRight(os.Getenv("EVOLUTION"), "/"), key: os.Getenv("AUTHENTICATION_API_KEY")}
	version, err := e.version(ctx, wait)
	if err != nil {
		return err
	}
	log.Printf("Evolution API %s answers", version)

	key, suffix := "sk-proj-"+rand.Text(), strings.ToLower(rand.Text()[:6])
	o := openAI{authorization: make(chan string, 8)}
	go o.serve(listener)
	var credential string
	for _, name := range []string{"first-" + suffix, "second-" + suffix} {
		if err := e.do(ctx, http.MethodPost, "/instance/create", map[string]any{"instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": false}, http.StatusCreated, nil); err != nil {
			return fmt.Errorf("create instance %s: %w", name, err)
		}
		var stored struct{ ID string }
		if err := e.do(ctx, http.MethodPost, "/openai/creds/"+name, map[string]any{"name": "key of " + name, "apiKey": key}, http.StatusCreated, &stored); err != nil {
			return fmt.Errorf("store the key in instance %s: %w", name, err)
		}
		credential = stored.ID
		log.Printf("instance %s has the key", name)
	}
	return models(ctx, e, o, "second-"+suffix, credential, key)
}

// models lists the models in an instance, and compares what the stand-in for OpenAI received with the key.
func models(ctx context.Context, e evolution, o openAI, instance, credential, key string) error {
	var list []struct{ ID string }
	err := e.do(ctx, http.MethodGet, "/openai/getModels/"+instance+"?openaiCredsId="+url.QueryEscape(credential), nil, http.StatusOK, &list)
	select {
	case got := <-o.authorization:
		log.Printf("OpenAI received Authorization: %q", got)
		if strings.TrimRight(got, " \t") != "Bearer "+key { // what every recipient strips, RFC 9110, section 5.5
			return errors.New("this is not the key, even without the white space at its end")
		}
	default:
		err = cmp.Or(err, errors.New("nothing was received in the place of OpenAI"))
	}
	if err == nil && (len(list) != 1 || list[0].ID != standInModel) {
		err = fmt.Errorf("the models are %v", list)
	}
	if err != nil {
		return fmt.Errorf("list the models in instance %s: %w", instance, err)
	}
	log.Print("the models came back: two instances share one key")
	return nil
}
