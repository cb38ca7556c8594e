# Ruby's parallel gem: a process per item, two at a time. Prints the ms, measured here, without Ruby's own start.
require "parallel"

count = Integer(ARGV.fetch(0))
start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
results = Parallel.map((0...count).to_a, in_processes: 2, isolation: true) { |n| n.to_s }
elapsed = Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
abort "wrong results" unless results == (0...count).map(&:to_s)
puts elapsed * 1000
