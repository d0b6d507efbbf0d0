// Go's net/http, with nothing set up in code but the choice of a version.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	column, url := os.Args[1], os.Args[2]
	client := http.DefaultClient
	if column == "h1" {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ForceAttemptHTTP2 = false
		transport.TLSClientConfig = &tls.Config{NextProtos: []string{"http/1.1"}}
		client = &http.Client{Transport: transport}
	}
	method, body := "GET", io.Reader(http.NoBody)
	if column == "upload" {
		method, body = "POST", bytes.NewReader(make([]byte, 5_000_000))
	}
	request, err := http.NewRequest(method, url, body)
	check(err)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("DEMO_KEY"))
	answer, err := client.Do(request)
	check(err)
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		log.Fatal(answer.Status)
	}
	switch column {
	case "download":
		length, err := io.Copy(io.Discard, answer.Body)
		check(err)
		fmt.Println("got", length)
	default:
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fmt.Println(lines.Text())
		}
		check(lines.Err())
		fmt.Println(answer.Header)
	}
	fmt.Println("done")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
