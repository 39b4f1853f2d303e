#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The same random binary requests to Hearth and to Debian's memcached, pipelined and cut into pieces anywhere, with a bad
# request at the end of each fourth batch: the same bytes come back, but for these differences, each of which the generator
# avoids or the comparison evens out:
#  - CAS numbers: each side has its own; both must be equal and different at the same places.
#  - version: Hearth answers the protocol level 1.6.45.
#  - decr leaves spaces behind a shorter number in memcached: they are taken off before comparing, and what was counted is
#    never appended to. Numbers from 2^63 on are left out, as in t/5002-differential.t, and texts begin with no digit.
#  - An unknown opcode with extras or a key: memcached throws these away twice, and goes on in the middle of what follows.
#    Hearth throws away the body.
#  - touch and stat with a value: memcached takes the value for the next request, Hearth answers 0x0004 and closes.
#  - verbosity is an unknown opcode to memcached.
#  - Lengths that contradict each other: memcached answers when as many bytes as extras and key should have are there,
#    Hearth when the head is; here they are always sent, and no more than these.
#  - A wrong magic: memcached forgets answers that it has not sent. Here a noop before it sends them.
#  - stat: the figures differ; asked are those of which only the names of sub-commands matter.
#  - A flush in the past or later; sizes near -I: as in t/5002-differential.t.
# HEARTH_SEED repeats a run.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Binary qw(request noop parse);
use Hearth::Daemon;
use Hearth::Process qw(long_run);
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $batches = $ENV{HEARTH_BATCHES} // (long_run() ? 4000 : 300);
srand $seed;
diag "seed $seed" if $ENV{HEARTH_SEED};

my @sides = (
	{ name => 'hearth', daemon => Hearth::Daemon->start(dir => 'none', args => ['-m', 1024, '-t', 2]) },
	{ name => 'memcached',
		daemon => Hearth::Daemon->start(program => '/usr/bin/memcached', args => ['-m', 1024, '-t', 2]) },
);
$_->{client} = $_->{daemon}->client for @sides;

# Keys for text and keys for numbers.
my @text = (map({ "t$_" } 1 .. 12), 'k' x 250, "\0\r\n ");
my @count = map { "n$_" } 1 .. 6;
my %token; # key => rank of the last CAS that was seen for it
my $never = 0xffffffff;

sub pick { return $_[rand @_]; }
sub any_key { return pick(@text, @count); }
sub exptime { return pick(0, 0, 0, 0, 1000, 2592000, 2000000000, 1000000000, 4000000000, $never); }
sub quiet { return rand() < 0.3 ? 'q' : ''; }
sub number { return pick(0, 1, 9, 10, 99, 100, 12345, int rand 1e9); }

sub value
{
	my $length = pick(0, 1, 2, 10, 50, 100, 100, 200, 1000, 4095, 4096, 4097, int rand 300, int rand 9000);
	$length = 20000 + int rand 600000 if rand() < 0.01;
	my $alphabet = pick("\r\n", "\x80\x0a", "get t1\r\n", join '', map { chr } 0 .. 255);
	my $value = $alphabet x (1 + $length / length $alphabet);
	$value = substr $value, int rand(length($value) - $length), $length;
	$value =~ s/^[\s\d+]/x/;
	return $value;
}

# A request: its key, and per side its parts. A CAS is given by rank.
sub cas { my ($key) = @_; return rand() < 0.8 ? 0 : rand() < 0.8 ? $token{$key} // 0 : $token{ any_key() } // 0; }

sub storage
{
	my $kind = rand;
	if ($kind < 0.02) {
		return [pick('set', 'addq', 'replace', 'append'), pick(@text), extras => undef, value => 'x' x 1_200_000];
	}
	my $key = $kind < 0.75 ? pick(@text) : any_key();
	my $word = pick('set', 'set', 'set', 'add', 'replace', 'append', 'prepend');
	$word = 'set' if $key =~ /^n/ && $word =~ /pend/;
	return [$word . quiet(), $key, extras => undef, value => $key =~ /^n/ ? number() : value(), rank => cas($key)];
}

sub counting
{
	my $key = rand() < 0.9 ? pick(@count) : pick(@text);
	return [pick('incr', 'decr') . quiet(), $key,
		extras => pack('Q>Q>N', number(), number(), $key =~ /^t/ ? $never : pick(0, 0, 1000, $never, $never, 1000000000)),
		rank => cas($key)];
}

sub reading
{
	return [pick('get', 'get', 'getk', 'getq', 'getkq'), any_key()] if rand() < 0.7;
	return [pick('gat', 'gatq', 'gatk', 'gatkq', 'touch'), any_key(), extras => pack 'N', exptime()];
}

sub other
{
	my $kind = rand;
	if ($kind < 0.6) {
		my $key = any_key();
		return ['delete' . quiet(), $key, rank => cas($key)];
	}
	return ['flush' . quiet(), '', extras => pick('', pack 'N', 0)] if $kind < 0.65;
	return ['stat', pick('nosuch', 'sizes', 'detail off', 'detail dump', 'detail', "\0", 'x' x 100)] if $kind < 0.75;
	return ['noop', ''] if $kind < 0.8;
	return ['version', ''] if $kind < 0.85;
	return ['sasl_list', ''] if $kind < 0.88;
	return [pick('sasl_auth', 'sasl_step'), 'PLAIN', value => "\0me\0secret"] if $kind < 0.92;
	return [pick(0x1f, 0x25, 0x30, 0x77, 0xff), '', value => pick('', 'x' x 10, 'x' x 20000)];
}

# Something behind which the connection ends, sent as far as both look at it.
sub bad
{
	my $opcode = int rand 0x26;
	my $key = 'k' x pick(0, 1, 2, 250, 251, 300);
	my $extras = 'e' x pick(0, 1, 4, 8, 20, 21);
	my $body = pick(0, 1, 4, 5, 9, length($key) - 1, length "$key$extras", length("$key$extras") - 1);
	return request('noop', '', magic => pick(0, 1, 0x67, 0x7f, 0x81, 0xff)) if rand() < 0.1;
	return request(pick('quit', 'quitq')) if rand() < 0.1;
	$body = 0 if $body < 0;
	my $good = length $key <= 250 && length "$key$extras" <= $body;
	# Only what is bad for sure, by the lengths themselves.
	return $good ? request(pick('get', 'set', 'incr', 'noop', 'version', 'delete', 'append', 'quit', 'flush'), 'k',
		extras => 'e' x 7) : request($opcode, $key, extras => $extras, body_len => $body);
}

# As the bytes for each side.
sub bytes
{
	my ($request, $opaque) = @_;
	my ($opcode, $key, %arg) = @$request;
	$arg{extras} = $opcode =~ /pend/ ? '' : pack 'NN', pick(0, 1, $never), exptime() if exists $arg{extras} && !defined $arg{extras};
	my $rank = delete $arg{rank};
	return map { request($opcode, $key, %arg, opaque => $opaque, cas => $rank ? $_->{numbers}[$rank] : 0) } @sides;
}

# Sends in pieces of a random size, reading whenever something is there, until the answers end so, or, without an end, the
# connection does.
sub exchange
{
	my ($side, $client, $bytes, $piece, $end) = @_;
	my $socket = $client->socket;
	my $fd = fileno $socket;
	my ($answer, $sent) = ('', 0);
	$socket->blocking(0);
	while (!defined $end || length $answer < 24 || substr($answer, -24) ne $end) {
		my ($r, $w) = ('', '');
		vec($r, $fd, 1) = 1;
		vec($w, $fd, 1) = 1 if $sent < length $bytes;
		select($r, $w, undef, 30) or die "seed $seed: $side->{name} does not answer, so far: " . unpack 'H*', substr $answer, -300;
		if (vec $r, $fd, 1) {
			next if sysread($socket, $answer, 1 << 20, length $answer);
			last unless defined $end;
			die "seed $seed: $side->{name} hung up: " . unpack 'H*', substr $answer, -300;
		}
		if (vec $w, $fd, 1) {
			$sent += syswrite($socket, $bytes, $piece ? 1 + rand $piece : length $bytes, $sent) // 0;
		}
	}
	$socket->blocking(1);
	return $answer;
}

# Answers as lines, with CAS numbers by rank (from 1 on).
sub digest
{
	my ($side, $answer, $keys, $see) = @_;
	my ($ranks, $numbers) = ($side->{rank} //= {}, $side->{numbers} //= [0]);
	my @lines;
	for my $a (parse(\$answer)) {
		my ($value, $key) = ($a->{value}, $keys->[$a->{opaque}] // '');
		$value =~ s/^(\d+) +\z/$1/ if $key =~ /^n/;
		$value = 'a version' if $a->{opcode} == 0x0b;
		if ($a->{cas}) {
			if (!$ranks->{ $a->{cas} }) {
				$ranks->{ $a->{cas} } = @$numbers;
				push @$numbers, $a->{cas};
			}
			$see->{$key} = $ranks->{ $a->{cas} } if length $key;
		}
		push @lines, sprintf "%02x %04x #%d %s %s cas %s %s\n", $a->{opcode}, $a->{status}, $a->{opaque}, unpack('H*', $a->{extras}),
		    $a->{key}, $a->{cas} ? $ranks->{ $a->{cas} } : 'none',
		    length $value > 60 ? length($value) . ' bytes ' . unpack '%32C*', $value : $value;
	}
	push @lines, 'and then ' . unpack 'H*', $answer if length $answer;
	return @lines;
}

# The next batch: bytes for each side, the keys by opaque, what was asked.
sub batch
{
	my ($requests) = @_;
	my (@sent, @keys, @shown);
	for my $opaque (1 .. 1 + rand 40) {
		my $kind = rand 100;
		my $request = $kind < 38 ? storage() : $kind < 53 ? counting() : $kind < 83 ? reading() : other();
		my @bytes = bytes($request, $opaque);
		$sent[$_] .= $bytes[$_] for 0, 1;
		$keys[$opaque] = $request->[1];
		push @shown, "#$opaque " . join ' ', map { substr $_ // '', 0, 40 } @$request;
		$$requests++;
	}
	return (\@sent, \@keys, \@shown);
}

sub compare
{
	my ($lines, $what, $shown) = @_;
	return 1 if join('', @{ $lines->[0] }) eq join '', @{ $lines->[1] };
	my ($at) = grep { ($lines->[0][$_] // '') ne ($lines->[1][$_] // '') } 0 .. $#{ $lines->[0] };
	diag "seed $seed, $what, answer " . ($at // 'behind the last') . ':';
	diag "  $sides[$_]{name}: " . (($lines->[$_][ $at // @{ $lines->[0] } ] // 'nothing') =~ s/([^ -~\n])/sprintf '%%%02x', ord $1/ger) for 0, 1;
	diag join "\n", map { s/([^ -~])/sprintf '%%%02x', ord $1/ger } @$shown;
	return 0;
}

my ($same, $requests) = (0, 0);
for my $batch (1 .. $batches) {
	my ($sent, $keys, $shown) = batch(\$requests);
	my $piece = pick(0, 0, 7, 100, 1500);
	$piece = 1500 if $piece && length $sent->[0] > 50_000;
	my $mark = 0xfeed0000 + $batch;
	my $end = pack 'CCnCCnNNQ>', 0x81, 0x0a, 0, 0, 0, 0, 0, $mark, 0;
	my @lines = map { [digest($sides[$_], exchange($sides[$_], $sides[$_]{client}, $sent->[$_] . noop($mark), $piece, $end), $keys, \%token)] } 0, 1;
	last unless compare(\@lines, "batch $batch, pieces $piece", $shown);
	if ($batch % 4 == 0) {
		my $bad = noop(1) . bad();
		@lines = map { [digest($sides[$_], exchange($sides[$_], $sides[$_]{daemon}->client, $bad, 0), [], {})] } 0, 1;
		last unless compare(\@lines, "bad request behind batch $batch", [unpack 'H*', substr $bad, 24]);
		$requests++;
	}
	$same++;
}
is($same, $batches, "$requests random requests in $batches batches are answered alike, seed $seed");
is($_->{daemon}->stop, 0, "$_->{name} stops in order") for @sides;
done_testing();
