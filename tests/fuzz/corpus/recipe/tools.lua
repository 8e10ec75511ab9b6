local T = require 'troupe'
return { env = { tools = { T.python{} } } }