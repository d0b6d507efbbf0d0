// gRPC in Go, with nothing set up in code but TLS.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

// bytesCodec carries messages as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string                          { return "proto" }
func (bytesCodec) Marshal(message any) ([]byte, error)   { return *message.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, into any) error { *into.(*[]byte) = append([]byte(nil), data...); return nil }

func main() {
	column, base := os.Args[1], os.Args[3]
	channel, err := grpc.Dial(strings.TrimPrefix(base, "https://")+":443",
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{})),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{})))
	check(err)
	context := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+os.Getenv("DEMO_KEY"))
	piece := make([]byte, 50_000)
	switch column {
	case "upload", "download":
		call := "Bidi"
		if column == "download" {
			call = "ServerStream"
			context = metadata.AppendToOutgoingContext(context, "x-count", "100")
		}
		stream, err := channel.NewStream(context, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/grpc.testing.Echo/"+call)
		check(err)
		go func() {
			for n := 0; n < 100; n++ {
				check(stream.SendMsg(&piece))
				if column == "download" {
					break
				}
			}
			check(stream.CloseSend())
		}()
		length := 0
		for {
			var message []byte
			err := stream.RecvMsg(&message)
			if err == io.EOF {
				break
			}
			check(err)
			length += len(message)
		}
		fmt.Println("got", length)
	default:
		one, answer := []byte("one"), []byte{}
		check(channel.Invoke(context, "/grpc.testing.Echo/Unary", &one, &answer))
		if string(answer) != "one" {
			log.Fatalf("%q", answer)
		}
	}
	fmt.Println("done")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
