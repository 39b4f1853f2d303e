#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Meta commands over kill -9: what they add to an item (stale, won, coded key, a CAS and a time of the client's choosing)
# is found again; long values; what is refused; herds of which one wins.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use MIME::Base64 qw(encode_base64);
use Test::More;

my $daemon = Hearth::Daemon->start(args => ['--snapshot-interval', 0, '-I', '2m']);
my $client;

# The line of the answer, and its value behind a newline.
sub ask
{
	my ($command) = @_;
	my $line = $client->ask($command);
	return $line =~ /^VA (\d+)/ ? "$line\n" . substr $client->bytes($1 + 2), 0, $1 : $line;
}

sub ms { my ($words, $value) = @_; $words =~ s/ / @{[length $value]} / or $words .= ' ' . length $value; return ask("ms $words\r\n$value\r\n"); }
sub again { $daemon->crash(args => ['--snapshot-interval', 0, '-I', '2m']); $client = $daemon->client; return; }

$client = $daemon->client;
my $long = join '', map { chr 32 + $_ % 90 } 1 .. 700_000;
is(ms('plain F5 T1000 E42', 'value'), 'HD', 'ms');
is(ms(encode_base64("\0 key\r\n", '') . ' b k', 'coded'), 'HD kACBrZXkNCg== b', 'ms with a coded key');
$client->put('ms long ' . length($long) . " q T1000\r\n$long\r\n");
is(ask("mn\r\n"), 'MN', 'ms with q says nothing');
is(ms("marked$_ T1000", "m$_"), 'HD', "marked$_") for 1 .. 3;
is(ask("md marked$_ I T500 E7$_\r\n"), 'HD', "marked$_ is invalidated") for 1 .. 3;
is(ask("mg marked2 c\r\n"), 'HD c72 X W', 'one wins');
is(ms('marked3', 'anew'), 'HD', 'and one is filled anew');
is(ask("mg made N1000 E99 v\r\n"), "VA 0 W\n", 'a miss makes an item');
is(ask("ma count N1000 J10 E5\r\n"), 'HD', 'a number begins');
is(ask("ma count D7 MI v q\r\nmn\r\n"), 'MN', 'and goes on in silence');
is(ms('emptied F3 E11', 'gone'), 'HD', 'an item');
is(ask("md emptied x T1000\r\n"), 'HD', 'loses its value');
is(ms('older T1000 E50', 'newer'), 'HD', 'something newer');
is(ms('older I C49', 'older'), 'HD', 'is stored over');
is(ms('older I C12345678', 'no'), 'EX', 'but only by something older');
is(ask("md dropped\r\n"), 'NF', 'md of a miss');

for my $round ('before', 'killed', 'killed again') {
	is(ask("mg plain v f c k O7 s\r\n"), "VA 5 f5 c42 kplain O7 s5\nvalue", "$round: flags, CAS and value");
	like(ask("mg plain t\r\n"), qr/^HD t(?:99\d|1000)$/, "$round: and the time");
	is(ask('mg ' . encode_base64("\0 key\r\n", '') . " b k v\r\n"), "VA 5 kACBrZXkNCg== b\ncoded", "$round: a coded key");
	is(ask("mg long v s\r\n"), "VA 700000 s700000\n$long", "$round: a long value");
	is(ask("mg long s\r\n"), 'HD s700000', "$round: its size alone");
	like(ask("mg marked2 v c t\r\n"), qr/^VA 2 c72 t(?:4\d\d|500) Z X\nm2$/, "$round: stale, and somebody is to fill it");
	is(ask("mg marked3 v\r\n"), "VA 4\nanew", "$round: filled anew");
	is(ask("mg made c\r\n"), 'HD c99 Z', "$round: an empty item that somebody is to fill");
	is(ask("mg count v\r\n"), "VA 2\n17", "$round: a number");
	is(ask("mg emptied v f c\r\n"), "VA 0 f0 c11\n", "$round: an emptied item");
	like(ask("mg older v t\r\n"), $round eq 'before' ? qr/^VA 5 t\d+ X W\nolder$/ : qr/^VA 5 t\d+ Z X\nolder$/, "$round: something older");
	again();
}
like(ask("mg marked1 v c t\r\n"), qr/^VA 2 c71 t(?:4\d\d|500) X W\nm1$/, 'what nobody had won is won now');
like(ask("me plain\r\n"), qr/^ME plain exp=(?:99\d|1000) la=\d+ cas=42 fetch=no cls=1 size=\d+$/, 'me');
is(ask("mg plain v C42\r\n"), 'HD', 'who has the value is not sent it');
is(ask("mg plain v C43\r\n"), "VA 5\nvalue", 'who has another is');

is(ms('plain ME s O1', 'longer one'), 'NS s10 O1', 'the length of what was not stored');
is(ask("md marked1 x\r\n"), 'HD', 'emptied');
is(ask("mg marked1 v h\r\n"), "VA 0 h0\n", 'it is neither stale nor won');
is(ms('number', '5'), 'HD', 'a number');
is(ask("mg number\r\n"), 'HD', 'that was read');
is(ask("ma number q\r\nmn\r\n"), 'MN', 'and counted');
is(ask("mg number h u\r\n"), 'HD h1', 'was read still');
is(ms('seen', 'x'), 'HD', 'an item');
$daemon->jump(5);
is(ask("md seen I\r\n"), 'HD', 'that is invalidated');
like(ask("mg seen l u\r\n"), qr/^HD l[5-9] X W$/, 'was not looked at for that');

# ---- one of many ----
is(ask("md plain I\r\n"), 'HD', 'invalidated');
my @herd = map { $daemon->client } 1 .. 20;
$_->put("mg plain v\r\n") for @herd;
my %told;
for my $one (@herd) {
	$told{ $one->line }++;
	$one->bytes(7);
}
is_deeply(\%told, { 'VA 5 X W' => 1, 'VA 5 Z X' => 19 }, 'one of a herd wins');
is(ms('hot T50', 'x'), 'HD', 'an item that ends soon');
$_->put("mg hot R60\r\n") for @herd;
%told = ();
$told{ $_->line }++ for @herd;
is_deeply(\%told, { 'HD W' => 1, 'HD Z' => 19 }, 'one of a herd fetches it early');

# ---- what cannot be stored ----
my $huge = 'h' x (2 << 20);
is(ms('plain ME q', $huge), 'SERVER_ERROR object too large for cache', 'too large is told under q');
is(ask("mg plain v\r\n"), 'EN', 'and takes what was there along, in every mode');
is(ms('many ' . join(' ', 'a' .. 'r'), 'hi'), 'CLIENT_ERROR options flags are too long', 'too many flags');
is(ask("mn\r\n"), 'MN', 'the value was swallowed');
again();
is(ask("mg plain v\r\n"), 'EN', 'it stays away');

# ---- pipelines, cut anywhere ----
my $pipeline = join '', map { "ms p$_ 3 T0 q\r\nv$_$_\r\nmg p$_ v k q\r\nma n N0 J1 q\r\nmd p$_ q\r\nmg p$_ v q\r\n" } 1 .. 9;
my $expected = join('', map { "VA 3 kp$_\r\nv$_$_\r\n" } 1 .. 9) . "MN\r\n";
for my $piece (1, 3, 50, 10_000) {
	my $got = $daemon->client->stream((unpack "(a$piece)*", $pipeline), "mn\r\n");
	is($got, $expected, "a pipeline in pieces of $piece");
}
is($daemon->stop, 0, 'stops in order');
done_testing();
