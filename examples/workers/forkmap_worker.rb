# Serves the items of a CommandWorker of forkmap: ForkmapWorker.serve { |item| item.upcase }
# What the block returns is what JSON can hold, or bytes: a string with the encoding BINARY.
require "json"

module ForkmapWorker
  Throttled = Class.new(StandardError) # raise Throttled, 5: the item is to be sent again after 5 s.
  Encoding.default_external = Encoding::UTF_8 # Items are, whatever LANG says.
  # For the protocol only: what else is printed goes to stderr, what else reads finds nothing.
  REQUESTS, ANSWERS = $stdin.dup, $stdout.dup
  $stdin.reopen(File::NULL)
  $stdout.reopen($stderr)
  $stdout.sync = ANSWERS.sync = true

  def self.serve(&handler)
    trap("TERM") { exit }
    REQUESTS.each_line.with_index do |line, number|
      answer = answer_to(line, "result-#{number}", &handler)
      ANSWERS.puts(JSON.generate({ id: line[/\d+/], **answer }, max_nesting: 0)) # The id comes first.
    end
  ensure
    trap("TERM") {} # What the program does at its end is not interrupted.
  end

  def self.answer_to(line, name)
    request = JSON.parse(line, max_nesting: false)
    file = request["item_file"]
    result = yield(file ? JSON.parse(File.read(file), max_nesting: false) : request["payload"])
    is_bytes = result.is_a?(String) && result.encoding == Encoding::BINARY
    content = is_bytes ? result : JSON.generate(result, max_nesting: 0)
    return { status: "ok", result: result } if content.bytesize <= 64 * 1024 && !is_bytes
    File.binwrite(File.join(ENV.fetch("FORKMAP_SCRATCH"), name), content)
    { status: "ok", result_file: name, result_type: is_bytes ? "bytes" : "json" }
  rescue Throttled => e
    { status: "throttled", retry_after_secs: Float(e.message, exception: false) || 60 }
  rescue StandardError, ScriptError, SystemStackError => e
    utf8 = ->(text) { text.dup.force_encoding("UTF-8").scrub }
    { status: "error", message: utf8[e.message], class: e.class.to_s, stack: utf8[e.full_message] }
  end
end
