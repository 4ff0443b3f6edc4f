// franz-go: the newest versions of everything. Create, produce with every codec, a group of two that
// shares cooperatively, offsets by time, epochs, settings, deletions.
//
// usage: franz BROKER TOPIC
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"brooklet/scenarios/connecting"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const (
	records  = 500
	deadline = 90 * time.Second
)

var broker, topic string

func must[T any](value T, err error) T {
	if err != nil {
		log.Panic(err)
	}
	return value
}

func check(holds bool, what ...any) {
	if !holds {
		log.Panic(what...)
	}
}

func client(options ...kgo.Opt) *kgo.Client {
	options = append(options, kgo.SeedBrokers(broker))
	if config := connecting.TLS(); config != nil {
		options = append(options, kgo.DialTLSConfig(config))
	}
	if user, password := connecting.User(); user != "" {
		options = append(options, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	}
	return must(kgo.NewClient(options...))
}

func main() {
	broker, topic = os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	admin := kadm.NewClient(client())
	defer admin.Close()

	created := must(admin.CreateTopic(ctx, 4, -1, map[string]*string{"retention.ms": kadm.StringPtr("86400000")}, topic))
	check(created.NumPartitions == 4 && created.ID != kadm.TopicID{}, created)
	_, err := admin.CreateTopic(ctx, 4, -1, nil, topic)
	check(errors.Is(err, kerr.TopicAlreadyExists), err)

	produce(ctx)
	consume(ctx)
	administer(ctx, admin)
	fmt.Println(records, "records with five codecs through a group of two")
}

func produce(ctx context.Context) {
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
	for number, codec := range codecs {
		producer := client(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(topic))
		var batch []*kgo.Record
		for at := range records / len(codecs) {
			batch = append(batch, &kgo.Record{
				Key:     fmt.Appendf(nil, "k%d", at%7),
				Value:   fmt.Appendf(nil, "v%d-%d", number, at),
				Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}},
			})
		}
		check(producer.ProduceSync(ctx, batch...).FirstErr() == nil, "produce")
		producer.Close()
	}
}

func consume(ctx context.Context) {
	options := []kgo.Opt{
		kgo.ConsumerGroup(topic + "-group"), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	}
	first := client(options...)
	defer first.Close()
	seen := map[string]bool{}
	for len(seen) < records {
		fetches := first.PollFetches(ctx)
		check(len(fetches.Errors()) == 0, fetches.Errors())
		fetches.EachRecord(func(record *kgo.Record) {
			check(!seen[string(record.Value)], "twice", string(record.Value))
			seen[string(record.Value)] = true
		})
	}
	check(first.CommitUncommittedOffsets(ctx) == nil, "commit")

	joined := make(chan int, 1)
	second := client(append(options, kgo.OnPartitionsAssigned(
		func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			if count := len(assigned[topic]); count > 0 {
				joined <- count
			}
		}))...)
	defer second.Close()
	// Both have to poll for the group to share.
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	go first.PollFetches(short)
	go second.PollFetches(short)
	select {
	case count := <-joined:
		check(count == 2, "assigned", count)
	case <-ctx.Done():
		log.Panic("the second member got nothing")
	}
}

func administer(ctx context.Context, admin *kadm.Client) {
	committed := must(admin.FetchOffsets(ctx, topic+"-group"))
	sum := int64(0)
	committed.Each(func(offset kadm.OffsetResponse) { sum += offset.At })
	check(sum == records, "committed", sum)
	lag := must(admin.Lag(ctx, topic+"-group"))
	check(lag[topic+"-group"].Lag.Total() == 0, lag)

	ends := must(admin.ListEndOffsets(ctx, topic))
	ends.Each(func(end kadm.ListedOffset) { check(end.Err == nil && end.LeaderEpoch >= 0, end) })
	late := must(admin.ListOffsetsAfterMilli(ctx, time.Now().Add(time.Hour).UnixMilli(), topic))
	late.Each(func(offset kadm.ListedOffset) { check(offset.Err == nil, offset) })
	epochs := must(admin.OffetForLeaderEpoch(ctx, kadm.OffsetForLeaderEpochRequest{topic: {0: 0}}))
	end, _ := ends.Lookup(topic, 0)
	check(epochs[topic][0].EndOffset == end.Offset, epochs)

	must(admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "segment.bytes", Value: kadm.StringPtr("2097152")}}, topic))
	configs := must(must(admin.DescribeTopicConfigs(ctx, topic)).On(topic, nil))
	for _, config := range configs.Configs {
		if config.Key == "segment.bytes" {
			check(config.MaybeValue() == "2097152", config)
		}
	}
	must(admin.CreatePartitions(ctx, 1, topic))
	check(len(must(admin.ListTopics(ctx, topic))[topic].Partitions) == 5, "grown")
	deleted := must(admin.DeleteRecords(ctx, kadm.Offsets{topic: {0: {Topic: topic, Partition: 0, At: end.Offset, LeaderEpoch: -1}}}))
	low, _ := deleted.Lookup(topic, 0)
	check(low.Err == nil && low.LowWatermark == end.Offset, low)
	must(admin.DescribeAllLogDirs(ctx, nil))
	must(admin.DescribeProducers(ctx, kadm.TopicsSet{topic: {0: {}}}))
	check(len(must(admin.DescribeGroups(ctx, topic+"-group"))) == 1, "described")

	for {
		gone := must(admin.DeleteGroups(ctx, topic+"-group"))
		err := gone[topic+"-group"].Err
		if err == nil {
			break
		}
		// The members are leaving.
		check(errors.Is(err, kerr.NonEmptyGroup) && ctx.Err() == nil, err)
	}
	must(admin.DeleteTopics(ctx, topic))
}
